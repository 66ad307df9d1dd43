//! Asks the programs of the machine whether its clock is synchronised: rarely, and none of them for long.

use std::{
    process::Stdio,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(60);
/// A program that says nothing for so long is ended, and has said nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last answer.
static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// One program that knows, and how to read what it says.
struct Witness {
    program: &'static str,
    arguments: &'static [&'static str],
    read: fn(&str) -> Option<bool>,
}

/// Whoever says yes first is believed: chrony without `rtcsync` keeps the kernel itself in the dark.
const WITNESSES: &[Witness] = if cfg!(windows) {
    &[Witness { program: "w32tm", arguments: &["/query", "/status"], read: w32tm }]
} else {
    &[
        // The kernel's own flag, whichever daemon set it.
        Witness {
            program: "timedatectl",
            arguments: &["show", "--property=NTPSynchronized", "--value"],
            read: timedatectl,
        },
        Witness { program: "chronyc", arguments: &["-n", "tracking"], read: chronyc },
        Witness { program: "ntpq", arguments: &["-n", "-c", "rv 0 leap"], read: ntpq },
    ]
};

/// Asks now and once a minute, for as long as it is polled.
pub async fn follow() {
    loop {
        let answer = match ask(WITNESSES, PATIENCE).await {
            None => UNKNOWN,
            Some(false) => NO,
            Some(true) => YES,
        };
        ANSWER.store(answer, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}

/// Returns the last answer; none where nobody was asked, or nobody knew.
pub(super) fn answer() -> Option<bool> {
    match ANSWER.load(Ordering::Relaxed) {
        UNKNOWN => None,
        answer => Some(answer == YES),
    }
}

/// Returns yes if one says yes, else no if one says no.
async fn ask(witnesses: &[Witness], patience: Duration) -> Option<bool> {
    let mut answer = None;
    for witness in witnesses {
        // Dropped when its time is up, and killed by that.
        match timeout(patience, words(witness)).await.ok().flatten() {
            Some(true) => return Some(true),
            Some(false) => answer = Some(false),
            None => {}
        }
    }
    answer
}

/// Returns what the program says; none where there is no such program, or it fails.
async fn words(witness: &Witness) -> Option<bool> {
    let mut command = Command::new(witness.program);
    command.args(witness.arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // CREATE_NO_WINDOW: no black window every minute.
    #[cfg(windows)]
    command.creation_flags(0x0800_0000);
    let output = command.output().await.ok()?;
    // Windows answers in the code page of its language; the digits are the same in all of them.
    output.status.success().then(|| (witness.read)(&String::from_utf8_lossy(&output.stdout))).flatten()
}

fn timedatectl(said: &str) -> Option<bool> {
    match said.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn chronyc(said: &str) -> Option<bool> {
    let leap = said.lines().find_map(|line| line.strip_prefix("Leap status")?.trim_start().strip_prefix(':'))?;
    Some(leap.trim() != "Not synchronised")
}

fn ntpq(said: &str) -> Option<bool> {
    let (_, leap) = said.split_once("leap=")?;
    matches!(leap.get(..2)?, "00" | "01" | "10").then_some(true).or_else(|| leap.starts_with("11").then_some(false))
}

/// The first line is the leap indicator, 3 for a clock that is not synchronised; a machine may also name its own clock
/// (`LOCL`) as what it follows.
fn w32tm(said: &str) -> Option<bool> {
    let digit = said.lines().find_map(|line| line.split_once(':'))?.1.trim_start().chars().next()?;
    match digit {
        '0'..='2' => Some(!said.contains("LOCL") && !said.contains("4C4F434C")),
        '3' => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_understood() {
        let chrony = |leap: &str| format!("Reference ID    : CB006E05 (203.0.110.5)\nLeap status     : {leap}\n");
        let windows = |leap: &str, source: &str| format!("Leap {leap}\r\nStratum: 3\r\nReferenceId: {source}\r\n");
        for (read, said, expected) in [
            (timedatectl as fn(&str) -> Option<bool>, "yes\n".to_owned(), Some(true)),
            (timedatectl, "no\n".into(), Some(false)),
            (timedatectl, String::new(), None),
            (chronyc, chrony("Normal"), Some(true)),
            (chronyc, chrony("Insert second"), Some(true)),
            (chronyc, chrony("Not synchronised"), Some(false)),
            (chronyc, "506 Cannot talk to daemon\n".into(), None),
            (ntpq, "leap=00\n".into(), Some(true)),
            (ntpq, "leap=11\n".into(), Some(false)),
            (ntpq, "ntpq: read: Connection refused\n".into(), None),
            (ntpq, "leap=中\n".into(), None),
            (w32tm, windows("Indicator: 0(no warning)", "0x0A000001"), Some(true)),
            (w32tm, windows("ָʾ\u{fffd}: 0(\u{fffd})", "0x0A000001"), Some(true)),
            (w32tm, windows("Indicator: 3(not synchronized)", "0x00000000"), Some(false)),
            (w32tm, windows("Indicator: 0(no warning)", "0x4C4F434C (source name: \"LOCL\")"), Some(false)),
            (w32tm, String::new(), None),
        ] {
            assert_eq!(read(&said), expected, "{said}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn one_yes_is_enough_and_whoever_is_not_there_fails_or_hangs_says_nothing() {
        const fn says(script: &'static [&'static str]) -> Witness {
            Witness { program: "sh", arguments: script, read: timedatectl }
        }
        const MISSING: Witness = Witness { program: "no-such-program-here", arguments: &[], read: timedatectl };
        const FAILS: Witness = says(&["-c", "echo yes; exit 1"]);
        const HANGS: Witness = says(&["-c", "exec sleep 600"]);
        const NO: Witness = says(&["-c", "echo no"]);
        const YES: Witness = says(&["-c", "echo yes"]);
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(50));
        for (witnesses, patience, expected) in [
            (&[MISSING, FAILS][..], long, None),
            (&[HANGS], short, None),
            (&[MISSING, NO], long, Some(false)),
            (&[NO, YES], long, Some(true)),
        ] {
            assert_eq!(ask(witnesses, patience).await, expected);
        }
    }
}
