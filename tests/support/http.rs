//! The station's pages as a browser without script asks for them: plain HTTP over one connection each.

use super::{PATIENCE, Village};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

/// Somebody who asks: where, and with what in hand.
#[derive(Debug, Clone)]
pub struct Client {
    /// Of the pages.
    pub address: SocketAddr,
    /// Sent with every request.
    pub cookie: Option<String>,
    /// The token of `data/control.json`, for who may read it.
    pub token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Of the first line.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes apart what came back; status 0 where nothing did.
    pub fn read(back: &[u8]) -> Self {
        let end = back.windows(4).position(|four| four == b"\r\n\r\n").map_or(back.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&back[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { whole(&back[end..]) } else { back[end..].to_vec() };
        Self { status, head, body }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The cookie that it sets, without what a browser has to know of it.
    pub fn cookie(&self) -> Option<String> {
        self.header("set-cookie")?.split(';').next().map(str::to_owned)
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

impl Client {
    /// Somebody at the machine who has not signed in; none while no page is open.
    pub fn at(village: &Village) -> Option<Self> {
        let control = fs::read(village.home().join("data/control.json")).ok()?;
        let control: Value = serde_json::from_slice(&control).ok()?;
        let address = control["address"].as_str()?.parse().ok()?;
        Some(Self { address, cookie: None, token: None })
    }

    /// Somebody at the machine who has not signed in.
    pub fn stranger(village: &Village) -> Self {
        Self::at(village).expect("an open page")
    }

    /// Somebody who may read `data/control.json`.
    pub fn owner(village: &Village) -> Self {
        let control = fs::read(village.home().join("data/control.json")).expect("data/control.json");
        let control: Value = serde_json::from_slice(&control).expect("its JSON");
        Self { token: control["token"].as_str().map(str::to_owned), ..Self::stranger(village) }
    }

    /// Whoever may read this `control.json`; none while there is none.
    pub fn of(control: &Path) -> Option<Self> {
        let control: Value = serde_json::from_slice(&fs::read(control).ok()?).ok()?;
        let address = control["address"].as_str()?.parse().ok()?;
        Some(Self { address, cookie: None, token: control["token"].as_str().map(str::to_owned) })
    }

    /// A form of one of the pages, answered in JSON.
    pub fn form_json(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let origin = format!("http://{}", self.address);
        self.send("POST", path, &[kind, ("Accept", "application/json"), ("Origin", &origin)], body.as_bytes())
    }

    /// A page.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Accept", "text/html")], b"")
    }

    /// The same as JSON.
    pub fn json(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Accept", "application/json")], b"")
    }

    /// A form of one of the pages.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let origin = format!("http://{}", self.address);
        self.send("POST", path, &[kind, ("Accept", "text/html"), ("Origin", &origin)], body.as_bytes())
    }

    /// Files with the fields before them, as a form sends them; answered in JSON.
    pub fn upload(&self, path: &str, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, text) in fields {
            let part = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        for (name, bytes) in files {
            let head = format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--x--\r\n");
        let origin = format!("http://{}", self.address);
        let kind = ("Content-Type", "multipart/form-data; boundary=x");
        self.send("POST", path, &[kind, ("Accept", "application/json"), ("Origin", &origin)], &body)
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let origin = format!("http://{}", self.address);
        let kind = ("Content-Type", "application/json");
        self.send(
            "POST",
            path,
            &[kind, ("Accept", "application/json"), ("Origin", &origin)],
            body.to_string().as_bytes(),
        )
    }

    /// Signs in and keeps the cookie.
    pub fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let answer = self.form("/sign-in", &[("name", name), ("password", password)]);
        if let Some(cookie) = answer.cookie() {
            self.cookie = Some(cookie);
        }
        answer
    }

    /// Any request; its length and its host are added.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        if self.address.ip().is_loopback() {
            self.raw(&self.written(method, path, headers, body))
        } else {
            self.over_tls(method, path, headers, body)
        }
    }

    /// From another machine; whose certificate it is, is the stations' to check.
    fn over_tls(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).timeout(PATIENCE).build();
        let method = method.parse().expect("a method");
        let mut request = http.expect("a client").request(method, format!("https://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, value.replace("http://", "https://"));
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let request = request.body(body.to_vec());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let Ok(answer) = request.send().await else { return Answer::read(&[]) };
            let (status, head) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
            let body = answer.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default();
            Answer { status, head, body }
        })
    }

    /// The same, not yet sent.
    pub fn written(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.address);
        }
        let own = [
            ("Cookie", self.cookie.clone()),
            ("Authorization", self.token.as_ref().map(|token| format!("Bearer {token}"))),
        ];
        let own = own.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        for (name, value) in own.chain(headers.iter().copied()) {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), body].concat()
    }

    /// These bytes, and whatever comes back until the other side closes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("a listening page");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        // A server that has heard enough may close while we still speak.
        let _ = stream.write_all(bytes);
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back);
        Answer::read(&back)
    }
}

/// Puts the chunks of a body together.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&chunks[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(length) = length.filter(|length| *length > 0) else { break };
        let from = end + 2;
        body.extend_from_slice(&chunks[from..(from + length).min(chunks.len())]);
        chunks = chunks.get(from + length + 2..).unwrap_or_default();
    }
    body
}
