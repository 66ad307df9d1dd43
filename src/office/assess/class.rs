//! Who answers for an announcement that was not heard in full: each reason of the closed list has one class.

use crate::{
    outcome::Reason,
    text::{Language, Said},
};
use serde::Serialize;

/// How a reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The rules or a plan wanted it so. It was not owed.
    Chosen,
    /// It was owed and is nobody's fault that a journal could know: the power was out, the machine was off.
    Excused,
    /// It was owed, and the people at the station or its equipment answer for it.
    Blamed,
}

impl Class {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Chosen, Self::Excused, Self::Blamed];

    /// Returns the class of a reason.
    pub fn of(reason: Reason) -> Self {
        use Reason::*;
        match reason {
            QuietHours | Preempted | MaxLength | DailyLimit | Overlap | Cancelled | Superseded | ClipExpired
            | Disabled => Self::Chosen,
            // An order expires on its way: the line was down, and the station could not know of it.
            PowerLoss | StationDown | Expired => Self::Excused,
            Stopped | Hushed | DeviceLost | DecoderShort | Crash | ClockUntrusted | ClockJump | ClipMissing
            | ClipCorrupt | DeviceUnavailable | DeviceStalled | SafeMode => Self::Blamed,
        }
    }

    /// Returns the reasons of this class, in the order of the closed list.
    pub fn reasons(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| Self::of(*reason) == self)
    }

    /// Its name.
    pub fn name(self) -> Said {
        match self {
            Self::Chosen => Said::new("按规则不播", "left out by rule"),
            Self::Excused => Said::new("免责", "excused"),
            Self::Blamed => Said::new("责任", "blamed"),
        }
    }

    /// Its name in the language of whoever reads.
    pub fn said(self, language: Language) -> String {
        self.name().in_language(language).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_class_and_no_class_is_without_one() {
        let classed = |class: Class| class.reasons().map(Reason::zh).collect::<Vec<_>>().join(" ");
        for (class, expected) in [
            (
                Class::Chosen,
                "被更高优先级抢占 静音时段 超过最长播出时间 超过每日播出时长 与其他播报重叠 当日取消 已被新指令取代 \
                 音频已过有效期 已停用",
            ),
            (Class::Excused, "断电 指令过期 关机或程序未运行"),
            (
                Class::Blamed,
                "停播 临时静音 声卡中断 音频提前结束 程序中断 时间不可信 时钟跳变 缺少音频 音频损坏 没有可用声卡 \
                 声卡无响应 安全模式",
            ),
        ] {
            assert_eq!(classed(class), expected, "{class:?}");
        }
        let listed: usize = Class::ALL.map(|class| class.reasons().count()).iter().sum();
        assert_eq!(listed, Reason::ALL.len());
    }
}
