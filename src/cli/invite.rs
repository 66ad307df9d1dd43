//! `dalaba invite`: the office makes a code for a village, for whoever sits at its machine and has no browser.
//!
//! It is the code of the office's page 入网, and the office may run meanwhile or not. Who asks by it still waits for a clerk.

use crate::{
    link::Division,
    office::enrol::{EnrolError, Invitation, invite},
    text::{Language, Said},
};
use serde_json::json;
use std::path::PathBuf;

/// Whose name stands in the office's record.
const WHO: &str = "local";

/// 在镇中心为一个村生成入网码
#[derive(Debug, clap::Args)]
pub(super) struct Invite {
    /// 村的名称，如 北庄村
    #[arg(value_name = "NAME")]
    name: String,
    /// 村的区划代码，如 330127104201
    #[arg(long, value_name = "CODE", value_parser = division)]
    division: Division,
    /// 中心文件夹
    #[arg(long, value_name = "DIR", default_value = "office")]
    home: PathBuf,
    /// 中心的数据库，如 postgres://用户@服务器/库；不写就用文件夹里的一个文件
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// 输出一个 JSON 对象
    #[arg(long)]
    json: bool,
}

fn division(text: &str) -> Result<Division, &'static str> {
    Division::try_from(text.to_owned()).map_err(|_| "区划代码应为 2、4、6、9 或 12 位数字")
}

pub(super) async fn run(arguments: Invite) -> anyhow::Result<u8> {
    let Invite { name, division, home, database, json } = arguments;
    let invitation = Invitation { division: division.clone(), name: name.trim().to_owned(), uses: 1, automatic: false };
    let invited = match invite(&home, database.as_deref(), WHO, invitation).await {
        Ok(invited) => invited,
        Err(EnrolError::Desk(error)) => anyhow::bail!(error.said().zh),
        Err(error) => return Err(error.into()),
    };
    let words = Said::new(invited.words.said(Language::Chinese), invited.words.said(Language::English));
    if json {
        let (code, expires) = (&invited.code, invited.expires);
        println!(
            "{}",
            json!({ "code": code, "name": name.trim(), "division": division, "expires": expires, "words": words })
        );
        return Ok(0);
    }
    let until = invited.zone.to_datetime(invited.expires).strftime("%Y-%m-%d %H:%M").to_string();
    println!("入网码  {}", invited.code);
    println!("        {}  {division}", name.trim());
    println!("有效期  到 {until}，只能用一次");
    println!("核对词  {}", words.zh);
    eprintln!("请把入网码告诉村里；村里看到的核对词和次序与上面完全一样，才在“入网”页面确认");
    Ok(0)
}
