//! `dalaba office`: one town, every village.

use crate::{link::Division, office};
use anyhow::Context as _;
use std::{net::SocketAddr, path::PathBuf};

/// 运行中心：镇里管理各村
#[derive(Debug, clap::Args)]
pub(super) struct Office {
    /// 中心文件夹
    #[arg(long, value_name = "DIR", default_value = "office")]
    home: PathBuf,
    /// 站点和浏览器打开的地址
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8660")]
    listen: SocketAddr,
    /// 数据库，如 postgres://用户@服务器/库；不写就用文件夹里的一个文件
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// 音频放在哪里，如 s3://桶/前缀；不写就用文件夹里的 blobs
    #[arg(long, value_name = "URL")]
    blobs: Option<String>,
    /// 除本机地址外，浏览器还可以用的名字，如 office.example:8660；可写多个
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// 首次设置：中心名称，如 青石镇；不写就在网页上设置
    #[arg(long, requires_all = ["division", "admin", "password_file"])]
    name: Option<String>,
    /// 首次设置：区划代码，如 330127104000
    #[arg(long)]
    division: Option<String>,
    /// 首次设置：时区
    #[arg(long, default_value = "Asia/Shanghai")]
    zone: String,
    /// 首次设置：管理员的名字
    #[arg(long)]
    admin: Option<String>,
    /// 首次设置：写有管理员密码的文件
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// 不运行，只把数据库复制到这个空的数据库（postgres://…）或文件夹；先停掉所有中心程序
    #[arg(long, value_name = "URL|DIR")]
    copy_to: Option<String>,
}

pub(super) async fn run(arguments: Office) -> anyhow::Result<u8> {
    let Office { home, listen, database, blobs, hosts, name, division, zone, admin, password_file, copy_to } =
        arguments;
    if let Some(to) = copy_to {
        let rows = office::copy(&home, database.as_deref(), &to).await?;
        println!("已复制 {rows} 行，两边一致；音频和密钥仍在 {}", home.display());
        return Ok(0);
    }
    let first = match (name, division, admin, password_file) {
        (Some(name), Some(division), Some(admin), Some(file)) => {
            let password =
                std::fs::read_to_string(&file).with_context(|| format!("读不出密码文件 {}", file.display()))?;
            let division = Division::try_from(division).context("区划代码应为 2、4、6、9 或 12 位数字")?;
            Some(office::First { name, division, zone, admin, password: password.trim_end().to_owned() })
        }
        _ => None,
    };
    office::run(office::Options { home, listen, database, blobs, hosts, first }).await?;
    Ok(0)
}
