//! Why a document was not accepted: the closed list that both ends, every page and every alarm share.

use crate::text::Said;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a document was not accepted. Travels as `{"reason": "old-revision", …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the sentences of `said` spell each out")]
pub enum Refused {
    TooLarge {
        bytes: u64,
        most: u64,
    },
    Malformed {
        what: String,
    },
    UnknownType {
        kind: String,
    },
    UnknownKey {
        kid: String,
    },
    Algorithm {
        alg: String,
    },
    Revoked {
        kid: String,
    },
    Forged {
        kid: String,
    },
    TooFewSignatures {
        have: u8,
        need: u8,
    },
    WrongRole {
        kid: String,
    },
    KeyExpired {
        kid: String,
    },
    OutOfScope {
        kid: String,
    },
    NotForThisStation,
    OldGeneration {
        ours: u64,
        theirs: u64,
    },
    NewerGeneration {
        ours: u64,
        theirs: u64,
    },
    OldRevision {
        ours: u64,
        theirs: u64,
    },
    /// Two different documents under one revision.
    SameRevision {
        revision: u64,
    },
    /// A counter that was used before, or lies too far back to tell.
    Replayed {
        counter: u64,
    },
    Lifetime,
    TimeUnknown,
    Expired {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        not_after: Timestamp,
    },
    WrongHash {
        blob: String,
    },
    AudioNotListed {
        path: String,
    },
    Schedule {
        file: String,
    },
    Unsupported {
        op: String,
    },
    TooMany,
    /// A reason that only a newer program knows.
    #[serde(other)]
    Other,
}

/// Refuses a document for the first of these that does not hold, by its name.
pub(super) fn unless<const N: usize>(checks: [(bool, &str); N]) -> Result<(), Refused> {
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(Refused::malformed(what)),
        None => Ok(()),
    }
}

impl Refused {
    /// Returns that bytes do not have the form they should have.
    pub(super) fn malformed(what: impl std::fmt::Display) -> Self {
        // What a hostile sender made may be of any length; the sentence is for people.
        Self::Malformed { what: what.to_string().chars().take(200).collect() }
    }

    /// The reason in the words of whoever reads.
    pub fn said(&self) -> Said {
        use Refused::*;
        let (zh, en) = match self {
            TooLarge { bytes, most } => (
                format!("文件有 {bytes} 字节，最多 {most} 字节"),
                format!("it has {bytes} bytes; at most {most} are taken"),
            ),
            Malformed { what } => (format!("格式不对：{what}"), format!("it is not formed as it should be: {what}")),
            UnknownType { kind } => {
                (format!("不认识的文件类型“{kind}”"), format!("`{kind}` is not a kind of document known here"))
            }
            UnknownKey { kid } => (
                format!("签名用的密钥“{kid}”不在信任名单里"),
                format!("it is signed with the key `{kid}`, which is not in the list of trusted keys"),
            ),
            Algorithm { alg } => (
                format!("签名算法“{alg}”本程序还不支持；请升级本程序"),
                format!("this program cannot check signatures by `{alg}`; a newer one may"),
            ),
            Revoked { kid } => (format!("密钥“{kid}”已被吊销"), format!("the key `{kid}` has been revoked")),
            Forged { kid } => (
                format!("签名与内容不符（密钥“{kid}”）：内容被改动，或是伪造的"),
                format!("the signature by `{kid}` does not match: it was changed, or forged"),
            ),
            TooFewSignatures { have, need } => (
                format!("只有 {have} 个有效的根签名，需要 {need} 个"),
                format!("it has {have} good root signatures and needs {need}"),
            ),
            WrongRole { kid } => {
                (format!("密钥“{kid}”无权签发这类文件"), format!("the key `{kid}` may not sign this kind of document"))
            }
            KeyExpired { kid } => (format!("密钥“{kid}”已过有效期"), format!("the key `{kid}` is no longer valid")),
            OutOfScope { kid } => {
                (format!("超出密钥“{kid}”的管辖范围"), format!("it reaches beyond what the key `{kid}` may speak for"))
            }
            NotForThisStation => ("不是发给本站的".into(), "it is not meant for this station".into()),
            OldGeneration { ours, theirs } => (
                format!("属于第 {theirs} 代，本站已在第 {ours} 代：可能是旧备份或重放"),
                format!("it is of generation {theirs} and this station is at {ours}: an old backup, or replayed"),
            ),
            NewerGeneration { ours, theirs } => (
                format!("属于第 {theirs} 代，本站的信任名单还在第 {ours} 代"),
                format!("it is of generation {theirs} and the list of trusted keys here still at {ours}"),
            ),
            OldRevision { ours, theirs } => (
                format!("版本 {theirs} 比已有的版本 {ours} 旧"),
                format!("revision {theirs} is older than {ours}, which is here"),
            ),
            SameRevision { revision } => (
                format!("版本 {revision} 已有另一份不同的内容"),
                format!("there is another document with the same revision {revision}"),
            ),
            Replayed { counter } => {
                (format!("序号 {counter} 已经用过：重放"), format!("its counter {counter} was used before: replayed"))
            }
            Lifetime => (
                "有效时间不对：过长，或在签发之前就结束".into(),
                "it claims to be valid for too long, or until before it was signed".into(),
            ),
            TimeUnknown => (
                "本站还不知道准确时间，无法判断是否过期".into(),
                "the time is not known here, so it cannot be told whether it has expired".into(),
            ),
            Expired { not_after } => (format!("已过期（{not_after}）"), format!("it expired at {not_after}")),
            WrongHash { blob } => {
                (format!("音频内容与校验值不符（{blob}）"), format!("the sound does not have the hash {blob}"))
            }
            AudioNotListed { path } => (
                format!("计划用到的音频“{path}”没有随计划下发"),
                format!("the plan plays `{path}`, which is not among its sounds"),
            ),
            Schedule { file } => (format!("播放计划“{file}”无法读取"), format!("the schedule `{file}` cannot be read")),
            Unsupported { op } => (
                format!("本程序不支持指令“{op}”；请升级本程序"),
                format!("this program does not know the command `{op}`; a newer one may"),
            ),
            TooMany => ("未完成的指令太多".into(), "too many commands are waiting already".into()),
            Other => ("对方给出的原因本程序不认识".into(), "for a reason that only a newer program knows".into()),
        };
        Said::new(zh, en)
    }
}
