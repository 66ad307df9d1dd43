//! `data/control.json`: how the other commands find the running daemon. Only the owner of `data/` can read it.

use crate::{disk::write_whole, home::Home, text::hex};
use serde::{Deserialize, Serialize};
use std::{fs, io, net::SocketAddr};

/// Address, process and token of the running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Where its page listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// Proves to it that the asker may read `data/`.
    pub token: String,
}

impl Control {
    /// Returns the control of a daemon that listens at `address`, with a fresh token of 256 random bits.
    pub fn new(address: SocketAddr) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let token = hex(&bytes);
        Ok(Self { address, pid: std::process::id(), token })
    }

    /// Writes it, readable by the owner alone.
    pub fn write(&self, home: &Home) -> io::Result<()> {
        // The temporary file behind `write_whole` is private to its owner from the start.
        write_whole(&home.control(), &serde_json::to_vec(self).map_err(io::Error::other)?)
    }

    /// Reads what the running daemon wrote.
    pub fn read(home: &Home) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(home.control())?).map_err(io::Error::other)
    }

    /// Removes it, if it is still this one.
    pub fn remove(&self, home: &Home) {
        if Self::read(home).is_ok_and(|on_disk| on_disk == *self) {
            // A file that stays names a process that is gone; the commands say so.
            let _ = fs::remove_file(home.control());
        }
    }
}
