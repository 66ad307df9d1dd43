//! A private PostgreSQL for tests: a server of its own for each test process, a fresh database for each test.
//!
//! Needs the programs of the package `postgresql`; without them a test fails and says so. As root, the server runs as the
//! user `postgres`, because it refuses to run as root. It listens on a socket in its own folder only, keeps its usual
//! settings (`fsync` among them), and ends with the process that started it, however that ends.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// Starts a server, says its folder, and answers each name on its input with `made` once there is a database of that
/// name; `kill` kills every process of the server at once, `start` starts it again. When its input ends it ends the
/// server and leaves nothing.
const KEEPER: &str = r#"
for bin in /usr/lib/postgresql/*/bin; do PATH="$PATH:$bin"; done
command -v initdb pg_ctl createdb >/dev/null || { echo 'initdb, pg_ctl or createdb is not there' >&2; exit 1; }
folder=$(mktemp -d) || exit 1
cd "$folder" || exit 1
trap '' INT
trap 'pg_ctl stop -D data -m immediate >/dev/null 2>&1; cd /; rm -rf "$folder"' EXIT
start() {
    pg_ctl start -w -D data -l log -o "-k '$folder' -c listen_addresses= -c max_connections=400" >/dev/null && return
    cat log >&2
    exit 1
}
initdb -D data -U office -A trust -E UTF8 --locale=C --no-sync --no-instructions >log 2>&1 || { cat log >&2; exit 1; }
start
echo "$folder"
while read -r name; do
    case "$name" in
        kill) pg_ctl stop -D data -m immediate >/dev/null ;;
        start) start ;;
        *) createdb -h "$folder" -U office "$name" || exit 1 ;;
    esac
    echo made
done
"#;

/// A server of one's own, for a test that treats it badly; others share one through [`fresh`].
pub struct Server {
    folder: String,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    databases: usize,
}

impl Server {
    /// Starts it, and waits until it answers.
    pub fn launch() -> Self {
        let mut shell = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            shell = Command::new("setpriv");
            shell.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
        }
        let spawned = shell.args(["-c", KEEPER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        #[expect(clippy::zombie_processes, reason = "it ends when its input does, which may be after this process")]
        let mut keeper = spawned.expect("a shell can be started");
        let (asks, stdout) = (keeper.stdin.take().unwrap(), keeper.stdout.take().unwrap());
        let mut server = Self { folder: String::new(), asks, answers: BufReader::new(stdout), databases: 0 };
        server.folder = server.answer();
        server
    }

    /// Returns the address of a database that nobody has used.
    pub fn fresh(&mut self) -> String {
        self.databases += 1;
        let name = format!("office{}", self.databases);
        self.ask(&name);
        format!("postgres://office@localhost/{name}?host={}", self.folder)
    }

    /// Kills every process of the server at once.
    pub fn kill(&mut self) {
        self.ask("kill");
    }

    /// Starts it again.
    pub fn start(&mut self) {
        self.ask("start");
    }

    fn ask(&mut self, word: &str) {
        writeln!(self.asks, "{word}").unwrap();
        assert_eq!(self.answer(), "made");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "these tests need PostgreSQL: install `postgresql` (why not: see above)");
        line.trim_end().to_owned()
    }
}

/// Returns the address of a database that nobody has used. The first call starts the server.
pub fn fresh() -> String {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Mutex::new(Server::launch())).lock().unwrap().fresh()
}
