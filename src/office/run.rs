//! Runs an office: its home, its lock, its listener; from nothing, if need be.
//!
//! The office needs nothing but the program: a folder that it makes, a certificate and keys that it makes, a database in a
//! file. What it is called and who administers it is asked on a page, or said on the command line.
//!
//! Not here: what it does ([`super::wire`], `pages`).

use super::{
    Office,
    blobs::{BlobError, Blobs},
    keys::{Keys, KeysError},
    pages,
    pages::first_run::Founding,
    scribe::keep_presence,
    server,
    store::{About, Deed, FILE, Store, StoreError},
    wire,
};
use crate::{
    clock,
    disk::write_whole,
    ending::asked_to_end,
    link::Division,
    text::Said,
    text::hex,
    web::{Code, Guard, People, Refused, Role, Tls},
};
use axum::{Router, http::StatusCode, routing::get};
use jiff::tz::TimeZone;
use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};
use tokio::sync::{mpsc, watch};

/// What an office is told on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder.
    pub home: PathBuf,
    /// Where stations and people reach it; port 0 takes a free one.
    pub listen: SocketAddr,
    /// In place of a file in the folder: `postgres://…`.
    pub database: Option<String>,
    /// In place of another folder there: `s3://…`.
    pub blobs: Option<String>,
    /// Names under which the pages are served, beside the machine's own, as `office.example:8660`.
    pub hosts: Vec<String>,
    /// What the first run would ask.
    pub first: Option<First>,
}

/// What it takes to set an office up.
#[derive(Debug, Clone)]
pub struct First {
    /// What people call it.
    pub name: String,
    /// Whom it may speak to.
    pub division: Division,
    /// Where its dates are, as `Asia/Shanghai`.
    pub zone: String,
    /// The first administrator.
    pub admin: String,
    /// Their password.
    pub password: String,
}

/// Why an office does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one runs in this folder.
    #[error("这个文件夹已经有一个中心程序在运行（进程 {pid}）；同一个文件夹只能运行一个")]
    Running {
        /// The other's process, as far as it is known.
        pid: String,
    },
    /// The folder cannot be used.
    #[error("文件夹 {} 用不了；请检查磁盘和权限", folder.display())]
    Home {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody can reach it there.
    #[error("地址 {at} 打不开；请关掉占用它的程序，或用 --listen 换一个端口")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no office to copy.
    #[error("文件夹 {} 里没有中心；请检查 --home 和 --database", folder.display())]
    Nothing {
        /// Where none is.
        folder: PathBuf,
    },
    /// What was said on the command line is no office.
    #[error("不能这样设置中心：{0}")]
    BadFirst(String),
    /// Somebody with this name or password cannot be added.
    #[error("不能添加管理员：{0}")]
    BadAdmin(String),
    /// There are no keys to sign with.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There are no tables.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no place for sounds.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// No random bits.
    #[error("系统给不出随机数")]
    NoRandom(#[from] getrandom::Error),
}

/// `control.json`: how other commands on this machine reach the office.
#[derive(serde::Serialize)]
struct Control<'a> {
    address: SocketAddr,
    pid: u32,
    token: &'a str,
}

/// Runs the office until it is told to stop.
pub async fn run(options: Options) -> Result<(), StartError> {
    let home = options.home.clone();
    let unusable = |source| StartError::Home { folder: home.clone(), source };
    fs::create_dir_all(&home).map_err(unusable)?;
    let _lock = lock(&home)?;
    let store = Store::open(options.database.as_deref(), &home).await?;
    let people = Arc::new(People::open(home.join("people.json")).map_err(unusable)?);
    let listener =
        server::listen(options.listen).map_err(|source| StartError::Listen { at: options.listen, source })?;
    let address = listener.local_addr().map_err(unusable)?;
    let tls = Tls::open(&home, "dalaba office").map_err(unusable)?;
    let mut token = [0; 32];
    getrandom::fill(&mut token)?;
    let token = hex(&token);
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(async move {
        asked_to_end().await;
        stop.send_replace(true);
    });
    let (show, routers) = watch::channel(health());
    let serving = tokio::spawn(server::serve(listener, tls, routers, stopped.clone()));
    let from_here = if address.ip().is_unspecified() {
        SocketAddr::new(
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() },
            address.port(),
        )
    } else {
        address
    };
    let control = Control { address: from_here, pid: std::process::id(), token: &token };
    let control = serde_json::to_vec(&control).map_err(io::Error::other);
    control.and_then(|bytes| write_whole(&home.join("control.json"), &bytes)).map_err(unusable)?;
    println!("大喇叭中心  https://{from_here}/");

    if let Some(first) = &options.first {
        found(&home, &store, &first.about(), &first.admin).await?;
        admit(&people, first).await?;
    }
    let code = Arc::new(Code::new()?);
    if people.is_empty() {
        println!("首次设置    https://{from_here}/first-run");
        println!("            从别的电脑打开时的验证码：{}", code.said());
    }
    let guard = Guard { token: token.as_str().into(), hosts: Arc::new(RwLock::new(options.hosts.clone())) };
    if store.about().await?.is_none() {
        let (founding, mut foundings) = mpsc::channel(1);
        let pages = pages::first_run::router(Arc::clone(&people), Arc::clone(&code), founding, guard.clone());
        let _ = show.send_replace(health().merge(pages));
        loop {
            let asked = tokio::select! {
                asked = foundings.recv() => asked,
                _ = stopped.wait_for(|stop| *stop) => None,
            };
            let Some(Founding { name, division, zone, who, done }) = asked else { break };
            let about = About { name, division, zone, generation: 0, revision: 0 };
            let founded = found(&home, &store, &about, &who).await;
            let is_done = founded.is_ok();
            let said = |error: StartError| {
                tracing::error!(error = &error as &dyn std::error::Error, "the office was not set up");
                Said::new(error.to_string(), "the office was not set up; look at its log")
            };
            let _ = done.send(founded.map_err(said));
            if is_done {
                break;
            }
        }
    }
    let ended = match store.about().await? {
        Some(about) => {
            let blobs = Blobs::open(options.blobs.as_deref(), &home)?;
            let office = Office::open(&home, store, blobs, people, &about).await?;
            println!("{}  {}  核对词：{}", about.name, about.division, office.keys.words().said(Default::default()));
            let _ = show.send_replace(open(&office, guard, code));
            office.live(stopped).await
        }
        None => Ok(()),
    };
    tracing::info!("shutting down");
    let _ = serving.await;
    // A file that stays names a process that is gone.
    let _ = fs::remove_file(home.join("control.json"));
    Ok(ended?)
}

/// Copies the tables of the office in this folder, which does not run, to an empty database, `postgres://…`, or to an
/// `office.db` in another folder. Returns how many rows there were.
pub async fn copy(home: &Path, database: Option<&str>, to: &str) -> Result<i64, StartError> {
    let nothing = || StartError::Nothing { folder: home.to_owned() };
    if database.is_none() && !home.join(FILE).exists() {
        return Err(nothing());
    }
    let _lock = lock(home)?;
    let from = Store::open(database, home).await?;
    from.about().await?.ok_or_else(nothing)?;
    let to = if to.contains("://") {
        Store::open(Some(to), home).await?
    } else {
        let folder = Path::new(to);
        fs::create_dir_all(folder).map_err(|source| StartError::Home { folder: folder.to_owned(), source })?;
        Store::in_folder(folder).await?
    };
    Ok(from.copy_to(&to).await?)
}

/// Everything that an office answers which was set up.
pub(super) fn open(office: &Office, guard: Guard, code: Arc<Code>) -> Router {
    health().merge(wire::router(office.clone())).merge(pages::router(office.clone(), guard, code))
}

/// `GET /healthz`: the program answers.
fn health() -> Router {
    Router::new().route("/healthz", get(async || StatusCode::OK))
}

impl Office {
    /// Does everything that nobody asks for, until `stopped` says so: hands out what is new, keeps the record of who is
    /// there, renews plans, keeps room for an emergency.
    pub(in crate::office) async fn live(&self, stopped: watch::Receiver<bool>) -> Result<(), KeysError> {
        let mut node = [0; 8];
        getrandom::fill(&mut node)?;
        let presence =
            tokio::spawn(keep_presence(self.store.clone(), self.watches.clone(), hex(&node), stopped.clone()));
        let renewing = tokio::spawn(self.clone().keep_renewing());
        let sparing = tokio::spawn(self.spare.clone().keep());
        let ended = self.watches.run(&self.store, &self.keys, stopped).await;
        renewing.abort();
        sparing.abort();
        match &ended {
            // Nobody told it to stop, but without its keys this process is none of the office's.
            Err(_) => presence.abort(),
            Ok(()) => drop(presence.await),
        }
        ended
    }
}

impl First {
    fn about(&self) -> About {
        let (name, division, zone) = (self.name.trim().to_owned(), self.division.clone(), self.zone.clone());
        About { name, division, zone, generation: 0, revision: 0 }
    }
}

/// Sets the office up, if nobody did.
async fn found(home: &Path, store: &Store, about: &About, who: &str) -> Result<(), StartError> {
    if !(1..=64).contains(&about.name.chars().count()) || about.name.chars().any(char::is_control) {
        return Err(StartError::BadFirst("名称应为 1 到 64 个字".into()));
    }
    if TimeZone::get(&about.zone).is_err() {
        return Err(StartError::BadFirst(format!("没有时区“{}”；例如 Asia/Shanghai", about.zone)));
    }
    if store.about().await?.is_some() {
        return Ok(());
    }
    let keys = Keys::make(home, &about.name, &about.division, clock::wall())?;
    let about = About { generation: keys.generation(), ..about.clone() };
    let root = keys.root();
    if let Some(change) = store.found(&about, root.root().version, root.envelope().text()).await? {
        change.commit(who, Deed::SetUp, "", &format!("{} {}", about.name, about.division)).await?;
    }
    Ok(())
}

/// Adds the first administrator, if nobody may sign in.
async fn admit(people: &People, first: &First) -> Result<(), StartError> {
    if !people.is_empty() {
        return Ok(());
    }
    people.add(&first.admin, &first.password, Role::Admin, true).await.map_err(|refused| {
        let why = match refused {
            Refused::BadName => "名字应为 1 到 32 个字",
            Refused::BadPassword => "密码应为 8 到 256 个字符",
            _ => "people.json 写不进；请检查磁盘和权限",
        };
        StartError::BadAdmin(why.to_owned())
    })
}

/// Takes the folder for this process alone. The lock goes with the process, however it ends.
fn lock(home: &Path) -> Result<fs::File, StartError> {
    let unusable = |source| StartError::Home { folder: home.to_owned(), source };
    let path = home.join("lock");
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let control = fs::read(home.join("control.json")).ok();
            let control = control.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
            let pid = control.map_or_else(|| "未知".to_owned(), |control| control["pid"].to_string());
            Err(StartError::Running { pid })
        }
        Err(fs::TryLockError::Error(error)) => Err(unusable(error)),
    }
}
