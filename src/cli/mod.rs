//! The command line. Exit codes: 0 fine, 1 findings or failure, 2 wrong usage. With `--json`, facts go to standard
//! output, one object a line, and nothing else does; words go to standard error.

mod check;
mod client;
mod control;
mod devices;
mod enrol;
mod ingest;
mod invite;
mod journal;
mod office;
mod plan;
mod run;
mod simulate;

use crate::{
    clock,
    config::Config,
    home::{Assembled, Home, assemble},
    library::Library,
    schedule::Finding,
};
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use std::{ffi::OsString, path::PathBuf};

/// 大喇叭：按计划播放语音提醒，并留下可查证的播出记录。
#[derive(Debug, Parser)]
#[command(name = "dalaba", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Place {
    /// 站点文件夹
    #[arg(long, value_name = "DIR", default_value = ".")]
    home: PathBuf,
    /// 每行输出一个 JSON 对象
    #[arg(long)]
    json: bool,
}

impl Place {
    fn home(&self) -> Home {
        Home::new(&self.home)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 运行站点
    Run(run::Run),
    /// 检查播放计划和音频
    Check(Place),
    /// 预排：之后几天播什么，不播什么，为什么
    Plan(plan::PlanArgs),
    /// 运行中的站点下一次播什么
    Next(Place),
    /// 立即播放一个音频或播报
    Play(control::Play),
    /// 停播：立即安静，直到恢复播出或 30 分钟后
    Stop(Place),
    /// 恢复播出
    Release(Place),
    /// 临时静音到某个时间
    Hush(control::Hush),
    /// 设置音量（0–100）
    Volume(control::VolumeArgs),
    /// 确认电脑时间正确
    ConfirmClock(Place),
    /// 试导入音频文件，说明能不能用
    Ingest {
        /// 音频文件
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// 每行输出一个 JSON 对象
        #[arg(long)]
        json: bool,
    },
    /// 加入镇中心
    Enrol(enrol::Enrol),
    /// 在镇中心为一个村生成入网码
    Invite(invite::Invite),
    /// 播出记录
    Journal(journal::Args),
    /// 模拟许多站点：压测镇中心，或演示
    Simulate(simulate::Simulate),
    /// 运行办公室：一个镇，各村的大喇叭，一个页面
    Office(office::Office),
    /// 声卡
    Devices(devices::Devices),
    /// The child that plays; started by the daemon.
    #[command(hide = true)]
    Speaker,
    /// The child that decodes; started by import.
    #[command(hide = true)]
    IngestChild {
        /// As import writes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Cli {
    /// Runs the command and returns its exit code.
    pub fn run(self) -> anyhow::Result<u8> {
        match self.command {
            // The children are plain blocking code on threads of their own.
            Command::Speaker => Ok(exit_code(crate::speaker::child_main())),
            Command::IngestChild { arguments } => Ok(exit_code(crate::ingest::child_main(&arguments))),
            Command::Devices(arguments) => devices::run(&arguments),
            Command::Ingest { files, json } => Ok(exit_code(ingest::run(&files, json))),
            command => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(asynchronous(command))
            }
        }
    }
}

fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

async fn asynchronous(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Check(place) => check::run(&place).await,
        Command::Plan(arguments) => plan::run(&arguments).await,
        Command::Next(place) => control::next(&place).await,
        Command::Play(arguments) => control::play(&arguments).await,
        Command::Stop(place) => control::post(&place, "/stop", serde_json::json!({})).await,
        Command::Release(place) => control::post(&place, "/release", serde_json::json!({})).await,
        Command::Hush(arguments) => control::hush(&arguments).await,
        Command::Volume(arguments) => control::volume(&arguments).await,
        Command::ConfirmClock(place) => control::post(&place, "/confirm-clock", serde_json::json!({})).await,
        Command::Enrol(arguments) => enrol::run(&arguments).await,
        Command::Invite(arguments) => invite::run(arguments).await,
        Command::Journal(arguments) => journal::run(arguments).await,
        Command::Simulate(arguments) => simulate::run(arguments).await,
        Command::Office(arguments) => office::run(arguments).await,
        Command::Speaker | Command::IngestChild { .. } | Command::Ingest { .. } | Command::Devices(_) => {
            unreachable!("these run without this runtime")
        }
    }
}

/// A home as the commands that need no daemon see it: texts, and clips measured where that was not done yet.
struct Looked {
    assembled: Assembled,
    config: Config,
    findings: Vec<Finding>,
    now: Timestamp,
}

/// Reads a home beside a daemon: takes no lock, writes nothing but the cache of measured clips.
async fn look(home: &Home) -> anyhow::Result<Looked> {
    let (texts, unreadable) = home.read();
    let mut assembled = assemble(&texts, None, Default::default());
    let config = assembled.config.clone().unwrap_or_else(Config::first_run);
    let program = std::env::current_exe()?;
    let mut library = Library::look(home.audio(), home.data(), program, config.sound.loudness);
    library.scan(&[], |_| {}).await;
    assembled.supply(library.clips().clone());
    let mut findings = assembled.findings.clone();
    findings.extend(unreadable);
    findings.extend(library.findings());
    Ok(Looked { assembled, config, findings, now: clock::wall() })
}
