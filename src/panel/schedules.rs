//! 计划: the schedules of the station, changed with a look at what they will do.

mod difference;
pub(super) mod edit;
pub(super) mod files;
