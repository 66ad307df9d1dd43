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
    /// 页面地址；端口 0 表示任选一个空闲端口，0.0.0.0 表示局域网也能打开
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(arguments: Run) -> anyhow::Result<u8> {
    daemon::run(arguments.place.home(), Options { listen: arguments.listen }, panel::serve).await?;
    Ok(0)
}
