//! What we ship is right: every schedule loads without a finding, every clip can be played.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use support::{dalaba, said};

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

#[test]
fn the_shipped_home_has_no_error_and_no_warning() {
    let mut check = dalaba();
    check.args(["check", "--json", "--home"]).arg(repository());
    let said = said(check).ok();
    assert!(said.json().iter().all(|finding| finding["severity"] == "note"), "{said:#?}");
}

#[test]
fn every_shipped_schedule_plans_something_in_its_season() {
    let mut plan = dalaba();
    plan.args(["plan", "--json", "--from", "2026-11-01", "--days", "120", "--home"]).arg(repository());
    let planned: BTreeSet<String> =
        said(plan).ok().json().iter().map(|occurrence| occurrence["schedule"].as_str().unwrap().to_owned()).collect();
    let mut shipped = Vec::new();
    files(&repository().join("schedules"), &mut shipped);
    let shipped: BTreeSet<String> = shipped
        .iter()
        .filter(|path| path.parent() == Some(&repository().join("schedules")))
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(shipped.len() >= 2, "one for a village, one for an enterprise: {shipped:?}");
    assert_eq!(planned, shipped);
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
