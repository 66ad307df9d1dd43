//! `dalaba simulate`: many light stations against an office, for load and to show a county on one desk.

use crate::{
    ending::asked_to_end,
    simulate::{self, FanOut, Options, Spread, Standing, Storm, Told},
};
use anyhow::Context;
use std::{io::Write, time::Duration};

/// 模拟许多站点：压测镇中心，或演示
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// 多少个站点
    #[arg(long, value_name = "N", default_value_t = 20)]
    stations: usize,
    /// 镇中心地址
    #[arg(long, value_name = "URL")]
    office: String,
    /// 加入码：可供这么多站点使用的那种
    #[arg(long, value_name = "CODE")]
    code: String,
    /// 随机种子（十六进制）；同一个种子得到同样的站点和故障，对同一个镇中心只能用一次
    #[arg(long, value_name = "HEX")]
    seed: Option<String>,
    /// 每个站点一开始就有多少条播出记录要上传
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    rows: u32,
    /// 每隔多少秒添一条播出记录
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    row_every: u32,
    /// 平均每隔多少秒每个站点出一次故障：断线、断电、时钟错、重传；不填则不出
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    mishap_every: Option<u32>,
    /// 收到命令只计时，不执行也不回报：只测下行
    #[arg(long)]
    deaf: bool,
    /// 多少秒后结束；不填则一直运行
    #[arg(long, value_name = "SECONDS")]
    lasts: Option<u64>,
    /// 每隔多少秒报一次数
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    tell_every: u64,
    /// 每行输出一个 JSON 对象
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Simulate) -> anyhow::Result<u8> {
    let json = arguments.json;
    let seed = match &arguments.seed {
        Some(seed) => u64::from_str_radix(seed, 16).context("--seed 要写成十六进制数")?,
        None => {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes)?;
            u32::from_le_bytes(bytes).into()
        }
    };
    open_many_files(arguments.stations);
    let options = Options {
        stations: arguments.stations,
        office: arguments.office,
        code: arguments.code,
        seed,
        rows: arguments.rows,
        row_every: Duration::from_secs(arguments.row_every.into()),
        mishap_every: arguments.mishap_every.map(|every| Duration::from_secs(every.into())),
        deaf: arguments.deaf,
        lasts: arguments.lasts.map(Duration::from_secs),
        tell_every: Duration::from_secs(arguments.tell_every),
    };
    eprintln!("种子 {seed:x}");
    let stop = asked_to_end();
    let mut out = std::io::stdout().lock();
    simulate::run(options, stop, |told| {
        let line = if json { serde_json::to_string(&told).unwrap_or_default() } else { said(&told) };
        // A reader that has gone away is no reason to end the fleet.
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    })
    .await?;
    Ok(0)
}

/// A connection is a file: takes as many as the system lets this process have.
#[cfg(unix)]
fn open_many_files(stations: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, what there was stays, and is said below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let may = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if may < stations as u64 + stations as u64 / 4 + 100 {
        eprintln!("系统只允许打开 {may} 个连接，{stations} 个站点可能不够用；请用 ulimit -Hn 放宽，或减少站点");
    }
}

#[cfg(not(unix))]
fn open_many_files(_stations: usize) {}

fn said(told: &Told) -> String {
    match told {
        Told::Note { note } => note.clone(),
        Told::Storm(Storm { stations, back, whole_ms }) => {
            format!("{stations} 个站点断线后全部恢复，用了 {whole_ms} 毫秒；每站{}", spread(back))
        }
        Told::Command(FanOut { command, op, came, sounds, .. }) => {
            let sounds = if sounds.count > 0 {
                format!("；{} 站开始播出，{}", sounds.count, spread(sounds))
            } else {
                String::new()
            };
            format!("命令 {op} {command}：{} 站收到，{}{sounds}", came.count, spread(came))
        }
        Told::Standing(standing) => {
            let Standing { enrolled, up, rows, acked, acked_per_s, lost, in_force, refused, later, failed, .. } =
                standing;
            let mut line = format!(
                "{up} 在线，共 {enrolled}；记录 {acked}/{rows} 已上传，每秒 {acked_per_s} 条；{in_force} 站用最新计划"
            );
            for (count, what) in [
                (*lost, "条要重传"),
                (i64::try_from(*refused).unwrap_or(0), "份文件被拒收"),
                (i64::try_from(*later).unwrap_or(0), "次被请稍后"),
                (i64::try_from(*failed).unwrap_or(0), "次请求失败"),
            ] {
                if count > 0 {
                    line += &format!("；{count} {what}");
                }
            }
            for (mishap, times) in &standing.mishaps {
                line += &format!("；{mishap} {times} 次");
            }
            line
        }
    }
}

fn spread(spread: &Spread) -> String {
    format!("中位 {} 毫秒，99% {} 毫秒，最长 {} 毫秒", spread.p50_ms, spread.p99_ms, spread.max_ms)
}
