//! Turns that are shared: so many at a time, of which one asker has no more than its share.
//!
//! Turns are handed out in order. Whoever has asked for too many waits behind himself, and nobody else waits behind him.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of one asker at a time, those that wait among them.
const OF_ONE: usize = 512;

/// Turns by who asks.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    all: Semaphore,
    share: usize,
    askers: Mutex<HashMap<K, Asker>>,
}

#[derive(Debug)]
struct Asker {
    count: usize,
    turns: Arc<Semaphore>,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// So many at a time, and so many of one asker.
    pub(crate) fn new(all: usize, share: usize) -> Self {
        Self { all: Semaphore::new(all), share, askers: Mutex::default() }
    }

    /// Somebody asks; none where they ask for too much already.
    pub(crate) fn come(&self, who: K) -> Option<Asking<'_, K>> {
        let mut askers = self.askers();
        let fresh = || Asker { count: 0, turns: Arc::new(Semaphore::new(self.share)) };
        let known = askers.entry(who.clone()).or_insert_with(fresh);
        if known.count >= OF_ONE {
            return None;
        }
        known.count += 1;
        Some(Asking { turns: self, who, own: Arc::clone(&known.turns) })
    }

    fn askers(&self) -> MutexGuard<'_, HashMap<K, Asker>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, while it is here.
#[derive(Debug)]
pub(crate) struct Asking<'a, K: Clone + Eq + Hash> {
    turns: &'a Turns<K>,
    who: K,
    own: Arc<Semaphore>,
}

impl<K: Clone + Eq + Hash> Asking<'_, K> {
    /// Who asks.
    pub(crate) fn who(&self) -> &K {
        &self.who
    }

    /// Does it when it is its turn; none where that does not come.
    pub(crate) async fn in_turn<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let turns = async { (self.own.acquire().await, self.turns.all.acquire().await) };
        let _turns = timeout(PATIENCE, turns).await.ok()?;
        Some(work.await)
    }
}

impl<K: Clone + Eq + Hash> Drop for Asking<'_, K> {
    fn drop(&mut self) {
        let mut askers = self.turns.askers();
        if let Some(asker) = askers.get_mut(&self.who) {
            asker.count -= 1;
            if asker.count == 0 {
                askers.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asker_takes_his_share_and_leaves_the_others() {
        let turns = Arc::new(Turns::new(4, 2));
        let busy: Vec<_> = (0..8)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move { turns.come("one").unwrap().in_turn(std::future::pending::<()>()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(turns.come("another").unwrap().in_turn(async { 7 }).await, Some(7));
        assert_eq!(turns.all.available_permits(), 2);
        for one in busy {
            one.abort();
            assert!(one.await.is_err());
        }
        assert!(turns.askers().is_empty());
        let many: Vec<_> = (0..OF_ONE).map(|_| turns.come("one").unwrap()).collect();
        assert!(turns.come("one").is_none() && turns.come("another").is_some());
        drop(many);
        assert!(turns.come("one").is_some());
    }
}
