//! `dalaba run`: the station.

use super::Place;
use crate::{
    daemon::{self, Options},
    panel,
};
use std::net::SocketAddr;

/// 运行站点
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    place: Place,
    /// 页面地址；端口 0 表示任选一个空闲端口
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(arguments: Run) -> anyhow::Result<u8> {
    if let Some(listen) = arguments.listen
        && !listen.ip().is_loopback()
    {
        eprintln!("页面目前只能在本机打开；--listen 请写 127.0.0.1:端口");
        return Ok(2);
    }
    daemon::run(arguments.place.home(), Options { listen: arguments.listen }, panel::serve).await?;
    Ok(0)
}
