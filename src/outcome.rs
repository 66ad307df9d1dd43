//! What became of an occurrence, and why: the closed lists that the journal, the plan and every page share.

use crate::text::Language;
use serde::{Deserialize, Serialize};

/// The one final word on an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// At least 99.5 % of the expected frames were accepted by the device.
    Played,
    /// Some frames were accepted, too few to count as played.
    Partial,
    /// Left out on purpose.
    Skipped,
    /// Left out by a fault.
    Missed,
}

/// Why an occurrence was not played in full. Which reasons belong to which [`Outcome`]: [`Reason::fits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the closed list of the brief; `zh` spells each out")]
pub enum Reason {
    Stopped,
    Preempted,
    QuietHours,
    Hushed,
    DeviceLost,
    DecoderShort,
    PowerLoss,
    Crash,
    MaxLength,
    DailyLimit,
    Overlap,
    Cancelled,
    Superseded,
    Expired,
    ClipExpired,
    Disabled,
    StationDown,
    ClockUntrusted,
    ClockJump,
    ClipMissing,
    ClipCorrupt,
    DeviceUnavailable,
    DeviceStalled,
    SafeMode,
}

impl Reason {
    /// The closed list.
    pub const ALL: [Self; 24] = {
        use Reason::*;
        [
            Stopped,
            Preempted,
            QuietHours,
            Hushed,
            DeviceLost,
            DecoderShort,
            PowerLoss,
            Crash,
            MaxLength,
            DailyLimit,
            Overlap,
            Cancelled,
            Superseded,
            Expired,
            ClipExpired,
            Disabled,
            StationDown,
            ClockUntrusted,
            ClockJump,
            ClipMissing,
            ClipCorrupt,
            DeviceUnavailable,
            DeviceStalled,
            SafeMode,
        ]
    };

    /// Returns whether an entry with this outcome may carry this reason.
    pub fn fits(self, outcome: Outcome) -> bool {
        use Reason::*;
        match outcome {
            Outcome::Played => false,
            Outcome::Partial => matches!(
                self,
                Stopped | Preempted | QuietHours | Hushed | DeviceLost | DecoderShort | PowerLoss | Crash | MaxLength
            ),
            Outcome::Skipped => matches!(
                self,
                QuietHours
                    | DailyLimit
                    | Overlap
                    | Cancelled
                    | Hushed
                    | Stopped
                    | Superseded
                    | Expired
                    | ClipExpired
                    | Disabled
            ),
            Outcome::Missed => matches!(
                self,
                StationDown
                    | ClockUntrusted
                    | ClockJump
                    | ClipMissing
                    | ClipCorrupt
                    | DeviceUnavailable
                    | DeviceStalled
                    | SafeMode
            ),
        }
    }

    /// The reason in the words of a village clerk.
    pub fn zh(self) -> &'static str {
        use Reason::*;
        match self {
            Stopped => "停播",
            Preempted => "被更高优先级抢占",
            QuietHours => "静音时段",
            Hushed => "临时静音",
            DeviceLost => "声卡中断",
            DecoderShort => "音频提前结束",
            PowerLoss => "断电",
            Crash => "程序中断",
            MaxLength => "超过最长播出时间",
            DailyLimit => "超过每日播出时长",
            Overlap => "与其他播报重叠",
            Cancelled => "当日取消",
            Superseded => "已被新指令取代",
            Expired => "指令过期",
            ClipExpired => "音频已过有效期",
            Disabled => "已停用",
            StationDown => "关机或程序未运行",
            ClockUntrusted => "时间不可信",
            ClockJump => "时钟跳变",
            ClipMissing => "缺少音频",
            ClipCorrupt => "音频损坏",
            DeviceUnavailable => "没有可用声卡",
            DeviceStalled => "声卡无响应",
            SafeMode => "安全模式",
        }
    }
}

impl Reason {
    /// The same in English.
    pub fn en(self) -> &'static str {
        use Reason::*;
        match self {
            Stopped => "stopped",
            Preempted => "cut by something more pressing",
            QuietHours => "quiet hours",
            Hushed => "hushed",
            DeviceLost => "the sound card was lost",
            DecoderShort => "the clip ended early",
            PowerLoss => "power cut",
            Crash => "the program broke off",
            MaxLength => "longer than may sound at a time",
            DailyLimit => "beyond the day's limit",
            Overlap => "overlaps another announcement",
            Cancelled => "cancelled for the day",
            Superseded => "superseded by a newer order",
            Expired => "the order had expired",
            ClipExpired => "its clips are no longer valid",
            Disabled => "disabled",
            StationDown => "the computer or the program was off",
            ClockUntrusted => "the time could not be trusted",
            ClockJump => "the clock jumped",
            ClipMissing => "a clip was missing",
            ClipCorrupt => "a clip was damaged",
            DeviceUnavailable => "no sound card",
            DeviceStalled => "the sound card did not answer",
            SafeMode => "safe mode",
        }
    }

    /// The reason in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        language.pick(self.zh(), self.en())
    }
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Played, Self::Partial, Self::Skipped, Self::Missed];

    /// The outcome in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        let english = match self {
            Self::Played => "played",
            Self::Partial => "played in part",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        };
        language.pick(self.zh(), english)
    }

    /// The outcome in the words of a village clerk.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Played => "已播",
            Self::Partial => "部分播出",
            Self::Skipped => "略过",
            Self::Missed => "漏播",
        }
    }
}

/// How much is known about what was heard, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The clip was decoded; nothing is known about a device.
    Decoded,
    /// A device accepted the frames.
    Accepted,
    /// The monitor of the sink carried them.
    Monitor,
    /// A microphone heard them.
    Mic,
}

impl Evidence {
    /// The evidence in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        let english = match self {
            Self::Decoded => "decoded",
            Self::Accepted => "taken by the sound card",
            Self::Monitor => "heard at the output",
            Self::Mic => "heard by a microphone",
        };
        language.pick(self.zh(), english)
    }

    /// The evidence in the words of a village clerk.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Decoded => "已解码",
            Self::Accepted => "声卡已接收",
            Self::Monitor => "输出端有声",
            Self::Mic => "话筒收到",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_belongs_to_an_outcome() {
        let listed: std::collections::BTreeSet<_> = Reason::ALL.into_iter().collect();
        assert_eq!(listed.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(Outcome::ALL.into_iter().any(|outcome| reason.fits(outcome)), "{reason:?}");
        }
        assert!(Reason::ALL.is_sorted() && Reason::ALL.last() == Some(&Reason::SafeMode));
    }
}
