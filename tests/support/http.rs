//! The station's pages as a browser or a program asks for them: plain HTTP over one connection a request.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// Somebody who asks.
#[derive(Clone)]
pub struct Browser {
    address: SocketAddr,
    /// `name=value` of a session, once there is one.
    pub cookie: Option<String>,
    /// The token of `data/control.json`.
    pub token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Browser {
    /// Somebody at the machine whose daemon runs on this home; none while no page is open.
    pub fn at(home: &Path) -> Option<Self> {
        let control: Value = serde_json::from_slice(&std::fs::read(home.join("data/control.json")).ok()?).ok()?;
        let address = control["address"].as_str()?.parse().ok()?;
        Some(Self { address, cookie: None, token: None })
    }

    /// Asks for an address as JSON.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "application/json", "text/plain", b"")
    }

    /// Asks for the page at an address.
    pub fn page(&self, path: &str) -> Answer {
        self.ask("GET", path, "text/html", "text/plain", b"")
    }

    /// Sends a form as a browser does.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.ask("POST", path, "text/html", "application/x-www-form-urlencoded", body.as_bytes())
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, "application/json", "application/json", body.to_string().as_bytes())
    }

    /// Sends a file of a form.
    pub fn upload(&self, path: &str, field: &str, bytes: &[u8]) -> Answer {
        let mut body = format!(
            "--border\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--border--\r\n");
        self.ask("POST", path, "application/json", "multipart/form-data; boundary=border", &body)
    }

    fn ask(&self, method: &str, path: &str, accept: &str, kind: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("the page is open");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nOrigin: http://{}\r\nAccept: {accept}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n",
            self.address,
            self.address,
            body.len()
        );
        if let Some(cookie) = &self.cookie {
            head += &format!("Cookie: {cookie}\r\n");
        }
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).expect("the head is sent");
        // A station that refuses early need not read the rest.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer within its time");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let body = bytes[end + 4..].to_vec();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Answer { status, head, body: if chunked { unchunked(&body) } else { body } }
    }
}

/// Puts the pieces of a streamed answer together.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).expect("a size"), 16).expect("a size");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 2 + size + 2..];
    }
}
