//! What we ship is right: every schedule loads without a finding, every clip can be played.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use support::{dalaba, said};
use tempfile::TempDir;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn clips() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&repository().join("audio"), &mut found);
    found.retain(|path| path.extension().is_some_and(|kind| ["wav", "flac", "mp3", "ogg"].iter().any(|k| kind == *k)));
    found.sort_unstable();
    found
}

/// The homes we ship: the village that this folder is, and the example of an enterprise, which shares its sounds.
fn homes() -> Vec<TempDir> {
    [repository().to_owned(), repository().join("examples/enterprise")]
        .map(|shipped| {
            // A copy, so that a data/ of somebody's trial run changes nothing.
            let home = tempfile::tempdir().expect("a temporary folder");
            copy(&repository().join("audio"), &home.path().join("audio"));
            copy(&shipped.join("schedules"), &home.path().join("schedules"));
            fs::copy(shipped.join("station.toml"), home.path().join("station.toml")).expect("a station file");
            home
        })
        .into()
}

fn copy(from: &Path, to: &Path) {
    let mut found = Vec::new();
    files(from, &mut found);
    for file in found {
        let target = to.join(file.strip_prefix(from).expect("found below"));
        fs::create_dir_all(target.parent().expect("a file has a folder")).expect("a folder");
        fs::copy(&file, target).expect("a copy");
    }
}

#[test]
fn the_shipped_homes_have_no_error_and_no_warning() {
    for home in homes() {
        let mut check = dalaba();
        check.args(["check", "--json", "--home"]).arg(home.path());
        let said = said(check).ok();
        assert!(said.json().iter().all(|finding| finding["severity"] == "note"), "{said:#?}");
    }
}

#[test]
fn every_shipped_schedule_plans_something_in_its_season() {
    for home in homes() {
        let mut plan = dalaba();
        plan.args(["plan", "--json", "--from", "2026-11-25", "--days", "100", "--home"]).arg(home.path());
        let planned: BTreeSet<String> = said(plan)
            .ok()
            .json()
            .iter()
            .map(|occurrence| occurrence["schedule"].as_str().unwrap().to_owned())
            .collect();
        let mut shipped = Vec::new();
        files(&home.path().join("schedules"), &mut shipped);
        let shipped: BTreeSet<String> = shipped
            .iter()
            .filter(|path| path.parent() == Some(&home.path().join("schedules")))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert!(!shipped.is_empty());
        assert_eq!(planned, shipped);
    }
}

#[test]
fn every_shipped_clip_can_be_played_and_reminders_last_ten_to_forty_seconds() {
    let clips = clips();
    let mut ingest = dalaba();
    ingest.args(["ingest", "--json"]).args(&clips);
    let facts = said(ingest).ok().json();
    assert_eq!(facts.len(), clips.len());
    let mut reminders = 0;
    for (clip, facts) in clips.iter().zip(&facts) {
        let (length, peak) = (facts["duration_ms"].as_i64().unwrap(), facts["true_peak_dbtp"].as_f64().unwrap());
        assert!(peak <= 0.0, "{}: {facts:#}", clip.display());
        if clip.parent().is_some_and(|folder| folder.ends_with("fraud")) {
            assert!((10_000..=40_000).contains(&length), "{}: {facts:#}", clip.display());
            reminders += 1;
        }
    }
    assert!(reminders >= 8, "{reminders} reminders against fraud");
}
