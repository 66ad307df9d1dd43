//! Parts of pages that change while people look at them, as server-sent events.
//!
//! A part is made by one task, however many look at it, and as long as anybody does: ten clerks before one list cost the
//! database what one costs. It goes out only when it has changed.
//!
//! Always true: there are no more streams than places, and the stream of a session that is over ends, without keeping the
//! session alive while it lasts.
//!
//! Not here: what is shown (the pages), the script that puts it in its place (`assets/live.js`).

use super::{Asked, People, Problem, Who};
use crate::clock;
use axum::{
    http::StatusCode,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::sleep,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

/// What could not be made now is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// A line without news shows that it is alive so often.
const ALIVE: Duration = Duration::from_secs(15);
/// So often a session is looked at that nobody has ended: it may have grown too old.
const LOOK: Duration = Duration::from_secs(60);

/// A part as it was made last; empty before the first time.
type Part = Arc<str>;

/// The live parts that somebody looks at; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feeds {
    parts: Arc<Mutex<BTreeMap<String, watch::Receiver<Part>>>>,
    places: Arc<Semaphore>,
}

impl Feeds {
    /// Room for so many who look.
    pub fn new(places: usize) -> Self {
        Self { parts: Arc::default(), places: Arc::new(Semaphore::new(places)) }
    }

    /// Answers with the part called `name`: now, and whenever it has changed. What differs between two who look, the
    /// language among it, is in the name. `make` returns the part and when it is worth another look; none where it cannot
    /// be made now.
    pub fn follow<Made>(
        &self,
        asked: &Asked,
        people: &Arc<People>,
        name: String,
        make: impl Fn() -> Made + Send + 'static,
    ) -> Result<Response, Problem>
    where
        Made: Future<Output = Option<(String, Duration)>> + Send,
    {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let said = asked.pick(
                "同时看实时页面的人太多；页面会过一会儿自动重新打开",
                "too many look at live pages; the page opens again in a while",
            );
            return Err(Problem { status: StatusCode::SERVICE_UNAVAILABLE, said: said.into() });
        };
        let (send, receive) = mpsc::channel(1);
        let part = self.part(name, make);
        tokio::spawn(pass_on(part, send, Arc::clone(people), asked.who.clone(), place));
        let events = ReceiverStream::new(receive);
        let events = events.map(|part: Part| Ok::<_, Infallible>(Event::default().data(part)));
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
    }

    /// Joins those who look at a part, or begins to make it.
    fn part<Made>(&self, name: String, make: impl Fn() -> Made + Send + 'static) -> watch::Receiver<Part>
    where
        Made: Future<Output = Option<(String, Duration)>> + Send,
    {
        let mut parts = self.parts();
        if let Some(part) = parts.get(&name).filter(|part| part.has_changed().is_ok()) {
            return part.clone();
        }
        let (sender, part) = watch::channel(Part::from(""));
        parts.insert(name.clone(), part.clone());
        drop(parts);
        let feeds = self.clone();
        tokio::spawn(async move {
            loop {
                let pace = match make().await {
                    Some((text, pace)) => {
                        sender.send_if_modified(|part| {
                            let is_new = **part != *text;
                            if is_new {
                                *part = text.into();
                            }
                            is_new
                        });
                        pace
                    }
                    None => AGAIN,
                };
                sleep(pace).await;
                // Under the lock, so that nobody joins what has just ended. One receiver is the list's own.
                let mut parts = feeds.parts();
                if sender.receiver_count() <= 1 {
                    parts.remove(&name);
                    return;
                }
            }
        });
        part
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, watch::Receiver<Part>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a part on to one who looks, until they go or may look no longer.
async fn pass_on(
    mut part: watch::Receiver<Part>,
    send: mpsc::Sender<Part>,
    people: Arc<People>,
    who: Option<Who>,
    _place: OwnedSemaphorePermit,
) {
    let session = who.and_then(|who| who.session);
    let mut endings = people.endings();
    loop {
        let now = Part::clone(&part.borrow_and_update());
        // Somebody at the machine has no session that could end.
        if session.as_ref().is_some_and(|session| !people.goes_on(session, clock::wall())) {
            return;
        }
        if !now.is_empty() && send.send(now).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                changed = part.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = endings.changed() => {}
                () = sleep(LOOK) => {}
                () = send.closed() => return,
            }
            if session.as_ref().is_some_and(|session| !people.goes_on(session, clock::wall())) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        text::Language,
        web::{Peer, Role},
    };
    use axum::body::HttpBody as _;
    use std::{
        future::poll_fn,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    const PATIENCE: Duration = Duration::from_secs(30);
    const PACE: Duration = Duration::from_millis(5);

    /// Somebody, and the session that they signed in with.
    async fn signed_in(people: &Arc<People>) -> (Asked, String) {
        let now = clock::wall();
        let token = people.sign_in("王芳", "大喇叭2026年", now).await.unwrap();
        let (name, role, session) = people.who(&token, now).unwrap();
        let peer = Peer {
            remote: "192.168.1.20:9".parse().unwrap(),
            local: "192.168.1.9:8660".parse().unwrap(),
            is_tls: true,
        };
        let who = Some(Who { name, role, session: Some(session) });
        let asked =
            Asked { peer, who, is_new: false, language: Language::English, wants_json: false, path: "/".into() };
        (asked, token)
    }

    async fn office() -> (tempfile::TempDir, Arc<People>) {
        let folder = tempfile::tempdir().unwrap();
        let people = Arc::new(People::open(folder.path().join("people.json")).unwrap());
        people.add("王芳", "大喇叭2026年", Role::Admin, true).await.unwrap();
        (folder, people)
    }

    /// The next event of a stream; none where it has ended.
    async fn next(stream: &mut Response) -> Option<String> {
        let body = stream.body_mut();
        let frame = tokio::time::timeout(PATIENCE, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)));
        let frame = frame.await.expect("an event, or the end")?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().into()).unwrap())
    }

    #[tokio::test]
    async fn one_task_makes_what_many_look_at_and_ends_with_the_last() {
        let (_folder, people) = office().await;
        let (asked, _) = signed_in(&people).await;
        let (feeds, made) = (Feeds::new(3), Arc::new(AtomicUsize::new(0)));
        let (show, shown) = watch::channel("one".to_owned());
        let follow = || {
            let (made, shown) = (Arc::clone(&made), shown.clone());
            feeds.follow(&asked, &people, "towns".into(), move || {
                made.fetch_add(1, SeqCst);
                let text = shown.borrow().clone();
                async move { Some((text, PACE)) }
            })
        };
        let mut streams = Vec::from_iter((0..3).map(|_| follow().unwrap()));
        assert_eq!(feeds.parts().len(), 1, "one part for all three");
        let full = follow().unwrap_err();
        assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
        for text in ["one", "two\nlines", "three"] {
            show.send_replace(text.to_owned());
            let expected = text.lines().map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
            for stream in &mut streams {
                while next(stream).await.expect("it goes on") != expected {}
            }
        }
        // What does not change is made, but not sent: the next that comes is something else.
        let before = made.load(SeqCst);
        while made.load(SeqCst) < before + 3 {
            tokio::task::yield_now().await;
        }
        show.send_replace("four".into());
        assert_eq!(next(&mut streams[0]).await.unwrap(), "data: four\n\n");
        drop(streams);
        while !feeds.parts().is_empty() || feeds.places.available_permits() < 3 {
            tokio::task::yield_now().await;
        }
        assert!(follow().is_ok(), "and it begins again");
    }

    #[tokio::test]
    async fn whoever_signs_out_sees_no_more_of_it() {
        let (_folder, people) = office().await;
        let feeds = Feeds::new(8);
        let follow = |asked: &Asked| {
            let made = || async { Some(("the town".to_owned(), PACE)) };
            feeds.follow(asked, &people, "towns".into(), made).unwrap()
        };
        let ((leaves, token), (stays, _)) = (signed_in(&people).await, signed_in(&people).await);
        let (mut leaving, mut staying) = (follow(&leaves), follow(&stays));
        for stream in [&mut leaving, &mut staying] {
            assert_eq!(next(stream).await.unwrap(), "data: the town\n\n");
        }
        people.sign_out(&token);
        assert_eq!(next(&mut leaving).await, None);
        assert!(people.goes_on(stays.who.as_ref().unwrap().session.as_ref().unwrap(), clock::wall()));
        people.set_password("王芳", "大喇叭2027年").await.unwrap();
        assert_eq!(next(&mut staying).await, None, "a new password ends every session");
    }
}
