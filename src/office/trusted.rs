//! Whom the town's stations trust, as people see it: the keys in force, which stations have not heard of them yet, and
//! which have heard more than this office knows of; and the renewal.
//!
//! Not here: what a renewal is ([`super::keys`]), what a station believes ([`crate::link::accept`]).

use super::{
    Office,
    keys::{KeysError, Renewal},
    store::{StationState, StoreError},
};
use crate::{
    clock,
    link::{Division, KeyId, Role, StationId},
};
use jiff::Timestamp;
use serde::Serialize;

/// A key in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// What it signs.
    pub signs: Renewal,
    /// Its name.
    pub kid: KeyId,
    /// Whom it may speak to; none for the key of roots, which speaks to whoever trusts the office.
    pub scope: Option<Division>,
    /// From here on it signs nothing new; none where it has no end.
    pub not_after: Option<Timestamp>,
}

/// A station by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
}

/// What is trusted, and how far that has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// Of the root in force.
    pub version: u64,
    /// The office's memory, by its number.
    pub generation: u64,
    /// The keys of the root in force.
    pub keys: Vec<InForce>,
    /// Keys that count for nothing any more.
    pub revoked: usize,
    /// Stations that have not said yet that they trust this root.
    pub behind: Vec<Named>,
    /// Stations that have seen what this office does not know to have said: it was restored from an old backup.
    pub ahead: Vec<Named>,
}

impl Office {
    /// Returns what is trusted now.
    pub async fn trusted(&self) -> Result<Trusted, StoreError> {
        let (root, ahead) = (self.keys.root(), self.store.stations_ahead().await?);
        let root = root.root();
        let mut stations = self.store.stations().await?;
        stations.retain(|station| station.state == StationState::Active);
        let reports = self.store.reports().await?;
        let of_roots = root.roots.iter().map(|key| InForce {
            signs: Renewal::Root,
            kid: key.kid.clone(),
            scope: None,
            not_after: None,
        });
        let others = root.keys.iter().filter_map(|key| {
            let signs = match key.role {
                Role::Content => Renewal::Content,
                Role::Emergency => Renewal::Emergency,
                Role::Time => Renewal::Time,
                Role::Other => return None,
            };
            let (kid, scope) = (key.public.kid.clone(), Some(key.scope.clone()));
            Some(InForce { signs, kid, scope, not_after: Some(key.not_after) })
        });
        let keys = others.chain(of_roots).collect();
        let is_behind = |station: &StationId| reports.get(station).is_none_or(|(report, _)| report.root < root.version);
        let named = |station: &super::store::Station| Named { station: station.id.clone(), name: station.name.clone() };
        Ok(Trusted {
            version: root.version,
            generation: root.generation,
            keys,
            revoked: root.revoked.len(),
            behind: stations.iter().filter(|station| is_behind(&station.id)).map(named).collect(),
            ahead: stations.iter().filter(|station| ahead.contains(&station.id)).map(named).collect(),
        })
    }

    /// Renews a key, or begins a new generation, with who did it on record; the watches tell the stations at once.
    pub async fn renew(&self, who: &str, what: Renewal) -> Result<(), KeysError> {
        self.keys.renew(&self.store, &[what].into(), who, clock::wall()).await?;
        self.watches.hint();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::{
        desk::tests::{VILLAGES, station, towns},
        store::{Deed, Saying},
    };
    use serde_json::json;

    /// A village says which root and generation it trusts, and which plan it has.
    async fn says(office: &Office, name: &str, sequence: u64, root: u64, ahead: bool) {
        let document = json!({
            "sequence": sequence, "root": root, "generation": 1, "in_force": [], "fetching": [], "journal": null,
            "acked": 0, "clock": { "state": "trusted", "offset_ms": null }, "rejected": [], "facts": null,
        });
        let saying = Saying::Reported {
            station: station(name),
            sequence,
            document: document.to_string(),
            plan: 0,
            ahead,
            rejected: Vec::new(),
            came: clock::wall(),
        };
        office.store.write_down(&[&saying]).await.unwrap();
    }

    fn names(stations: &[Named]) -> Vec<&str> {
        stations.iter().map(|station| station.station.as_str()).collect()
    }

    #[tokio::test]
    async fn it_is_known_which_keys_are_in_force_and_how_far_a_new_one_has_come() {
        for (town, _kept) in towns().await {
            let office = &town.offices[0];
            let before = office.trusted().await.unwrap();
            let kid = |trusted: &Trusted, what| {
                let mut keys = trusted.keys.iter().filter(|key| key.signs == what);
                let kid = keys.next().unwrap().kid.clone();
                assert!(keys.next().is_none());
                kid
            };
            assert_eq!(before.keys.len(), 4);
            assert_eq!(names(&before.behind).len(), VILLAGES.len(), "nobody has said anything yet");
            says(office, "beizhuang", 1, before.version, false).await;
            assert!(!names(&office.trusted().await.unwrap().behind).contains(&"beizhuang"));
            for what in [Renewal::Content, Renewal::Emergency, Renewal::Time, Renewal::Root] {
                let before = office.trusted().await.unwrap();
                office.renew("王芳", what).await.unwrap();
                let after = office.trusted().await.unwrap();
                assert!(after.version > before.version && after.revoked == before.revoked + 1);
                assert_eq!(after.generation, before.generation);
                for other in [Renewal::Content, Renewal::Emergency, Renewal::Time, Renewal::Root] {
                    assert_eq!(kid(&before, other) != kid(&after, other), other == what, "{what:?} {other:?}");
                }
                assert!(names(&after.behind).contains(&"beizhuang"), "it does not have this root yet");
                let record = office.store.records(i64::MAX, 1).await.unwrap().remove(0);
                let seen = (record.who.as_str(), record.what.as_str(), record.detail.as_str());
                assert_eq!(seen, ("王芳", Deed::Keys.key(), what.key()));
            }
        }
    }

    #[tokio::test]
    async fn whoever_knows_more_than_a_restored_office_is_named_until_a_new_generation_begins() {
        for (town, _kept) in towns().await {
            let office = &town.offices[0];
            let version = office.trusted().await.unwrap().version;
            for (name, sequence, ahead) in [("beizhuang", 1, true), ("nanzhuang", 1, true), ("shangshan", 1, false)] {
                says(office, name, sequence, version, ahead).await;
            }
            assert_eq!(names(&office.trusted().await.unwrap().ahead), ["beizhuang", "nanzhuang"]);
            office.revoke("王芳", &station("nanzhuang")).await.unwrap();
            assert_eq!(names(&office.trusted().await.unwrap().ahead), ["beizhuang"], "a revoked one says nothing here");
            office.renew("王芳", Renewal::Content).await.unwrap();
            assert_eq!(names(&office.trusted().await.unwrap().ahead), ["beizhuang"], "another key is no remedy");
            office.renew("王芳", Renewal::Generation).await.unwrap();
            let after = office.trusted().await.unwrap();
            assert_eq!(names(&after.ahead), [""; 0]);
            assert!(names(&after.behind).contains(&"beizhuang"), "it has not heard of it yet");
            // Where it is ahead still, it says so again.
            says(office, "beizhuang", 2, version, true).await;
            assert_eq!(names(&office.trusted().await.unwrap().ahead), ["beizhuang"]);
        }
    }
}
