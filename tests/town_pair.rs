//! Two office processes on one PostgreSQL serve one fleet, and one of them dies while every station uploads and an
//! emergency is out: every row is stored once, every station hears.
//!
//! 60 light stations; 1,000 with `DALABA_PROVE`. They know one address: what stands before the offices there passes
//! connections on to whichever takes them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use dalaba::office::store::Store;
use serde_json::json;
use std::{fs, net::SocketAddr, thread};
use support::{
    fleet::Fleet,
    rig::RATE,
    town::{DIVISION, Ground, Town},
    wave::{melody, wav},
};
use tokio::net::{TcpListener, TcpStream};

/// Rows that each station brings: a batch every few seconds, for longer than it takes to be taken in.
const ROWS: i64 = 2000;
/// What stands before two offices: gives each connection to the next of them that takes it.
fn before(offices: [SocketAddr; 2]) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async {
            for turn in 0.. {
                let Ok((mut station, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    for office in [offices[turn % 2], offices[(turn + 1) % 2]] {
                        if let Ok(mut office) = TcpStream::connect(office).await {
                            // Whichever end goes first takes the other with it.
                            let _ = tokio::io::copy_bidirectional(&mut station, &mut office).await;
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

#[test]
fn one_of_two_offices_dies_and_every_row_is_stored_once_and_every_station_hears() {
    let stations = if std::env::var_os("DALABA_PROVE").is_some() { 1000 } else { 60 };
    let database = postgres::fresh();
    let mut one = Town::on(Ground { database: Some(database.clone()), ..Ground::default() });
    // The other has the same keys, people and certificate, and the sounds in one folder that both see.
    one.kill();
    let home = one.folder().join("other");
    one.back_up(&home);
    fs::remove_dir_all(home.join("blobs")).unwrap();
    std::os::unix::fs::symlink(one.home().join("blobs"), home.join("blobs")).unwrap();
    one.start();
    let two = Town::on(Ground { database: Some(database.clone()), home: Some(home), ..Ground::default() });

    let sound = one.sound("alarm.wav", &wav(&melody(9, 1.0)[..RATE]));
    let many =
        json!({ "name": "", "division": format!("{DIVISION}201"), "uses": stations.to_string(), "automatic": true });
    let code = one.press("/enrol/code", &many)["made"]["code"].as_str().unwrap().to_owned();
    let mut fleet =
        Fleet::sets_out(before([one.address(), two.address()]), &code, stations, &["--rows", &ROWS.to_string()]);
    fleet.until("all are there", |told| told["up"] == stations);
    let order = two.emergency("山洪", &sound);
    let told = fleet.until("the next word", |told| told["told"] == "standing");
    assert!(told["acked"].as_i64() < told["rows"].as_i64(), "they still upload: {told}");
    one.kill();

    fleet.until("everybody hears", |told| told["op"] == "emergency" && told["sounds"]["count"] == stations);
    two.finished(&order, stations);
    // And one row of the emergency.
    let every = (ROWS + 1) * i64::try_from(stations).unwrap();
    let told = fleet.until("every row is there", |told| told["up"] == stations && told["acked"] == every);
    println!("{stations} stations, one office killed: {told}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows =
        runtime.block_on(async { Store::open(Some(&database), one.folder()).await.unwrap().rows().await.unwrap() });
    // A hello may be older than an answer that overtook it: then rows are sent again, and still stored once.
    assert_eq!(rows, every, "each once");
}
