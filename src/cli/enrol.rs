//! `dalaba enrol`: the station asks an office to take it in, and a person compares the words.
//!
//! A running daemon does it itself; without one it is written down, and the next daemon goes on from there.

use super::{
    Place,
    client::{ClientError, ask, ask_within},
};
use crate::{
    config::Config,
    home::assemble,
    link::shell::{EnrolError, View, alone},
};
use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

/// The office may be far away.
const PATIENCE: Duration = Duration::from_secs(60);

/// 加入镇中心
#[derive(Debug, clap::Args)]
pub(super) struct Enrol {
    #[command(flatten)]
    place: Place,
    /// 镇中心给的接入码
    #[arg(value_name = "CODE")]
    code: String,
    /// 镇中心的地址，例如 https://192.168.1.10:8660
    #[arg(long, value_name = "URL")]
    office: String,
    /// 已经用别的办法核对过，不再询问
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: &Enrol) -> anyhow::Result<u8> {
    let home = arguments.place.home();
    let body = json!({ "office": arguments.office, "code": arguments.code });
    let (view, is_running) = match ask_within(PATIENCE, &home, "/settings/office/enrol", Some(&body)).await {
        Ok(answer) => (view(&answer)?, true),
        Err(ClientError::NotRunning) => {
            let config = assemble(&home.read().0, None, Default::default()).config;
            let Some(config) = config.filter(|config| *config != Config::first_run()) else {
                anyhow::bail!("还没有可用的 station.toml；请先完成首次设置");
            };
            let about = (config.id.as_str(), config.name.as_str());
            (alone::enrol(&home.data(), about, &arguments.office, &arguments.code).await.map_err(sentence)?, false)
        }
        Err(error) => return Err(error.into()),
    };
    show(arguments, &view)?;
    if !arguments.yes && !is_confirmed()? {
        eprintln!("没有确认；核对一致后，可在页面的“设置”里确认，或加 --yes 重新执行");
        return Ok(1);
    }
    if is_running {
        ask(&home, "/settings/office/compared", Some(&json!({}))).await?;
    } else {
        alone::compared(&home.data()).map_err(sentence)?;
    }
    eprintln!("已确认；等镇中心的工作人员确认后自动接通{}", if is_running { "" } else { "（站点启动后）" });
    Ok(0)
}

fn sentence(error: EnrolError) -> anyhow::Error {
    anyhow::Error::msg(error.said().zh)
}

fn view(answer: &Value) -> serde_json::Result<View> {
    serde_json::from_value(answer["office"].clone())
}

fn show(arguments: &Enrol, view: &View) -> anyhow::Result<()> {
    if arguments.place.json {
        println!("{}", serde_json::to_string(view)?);
        return Ok(());
    }
    println!("镇中心  {}  {}", view.name.as_deref().unwrap_or_default(), view.office.as_deref().unwrap_or_default());
    println!("请打电话给镇中心，核对这些词，次序也要一样：");
    println!("        {}", view.words.as_ref().map_or("", |words| words.zh.as_str()));
    Ok(())
}

/// Asks whoever sits there.
fn is_confirmed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("完全一样吗？（是/否）");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "是" | "y" | "Y" | "yes"))
}
