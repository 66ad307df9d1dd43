//! The child `dalaba speaker`: sole owner of the sound device, plays prepared clips only.
//!
//! A dead sound server can hang a process, so the device lives in one that the daemon can kill. Plain threads: one
//! reads orders, one writes words, the engine ([`supervise`]) decides, one per announcement prepares samples
//! ([`chain`]), and the sound library's own calls [`render`].

pub mod chain;
pub mod device;
pub mod protocol;
pub mod render;
pub mod supervise;
pub mod witness;

use protocol::{Order, Word, read_frame, write_frame};
use std::{io, sync::mpsc, thread};
use supervise::Input;

/// Words that may wait for a daemon that does not read: half an hour of them. Then nobody is there.
const UNREAD: usize = 4096;

/// Runs the child until its input ends, and returns its exit code. The caller exits with it at once: threads that
/// hang in a sound library are not waited for.
pub fn child_main() -> i32 {
    let (orders, inputs) = mpsc::sync_channel(64);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Ok(Some(order)) = read_frame::<Order>(&mut stdin) {
            if orders.send(Input::Order(order)).is_err() {
                return;
            }
        }
        // Its end, and a message that cannot be read: whoever speaks so is not our daemon.
        drop(orders.send(Input::Closed));
    });
    let (words, spoken) = mpsc::sync_channel::<Word>(UNREAD);
    let writer = thread::spawn(move || {
        let mut stdout = io::stdout().lock();
        for word in spoken {
            if write_frame(&mut stdout, &word).is_err() {
                return;
            }
        }
    });
    let code = supervise::run(&inputs, |word| words.try_send(word).is_ok());
    drop(words);
    // A reader that is there takes the last words at once; one that is not is not waited for.
    for _ in 0..10 {
        if writer.is_finished() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    code
}
