//! What every number of the report means, as it is printed with it.

use super::Class;
use crate::text::{Language, Said};

/// A number's name, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// As the columns have it.
    pub term: Said,
    /// In a sentence.
    pub text: Said,
}

/// Every definition, in the order of the columns. `(term, text)` in Chinese, then in English.
const DEFINITIONS: [(&str, &str, &str, &str); 20] = [
    (
        "应播",
        "播放计划里到时间该播的次数，不含“按规则不播”和“临时播出”。应播 = 已播 + 免责 + 责任 = 已播 + 部分 + 漏播。",
        "planned",
        "what plans held and the rules let sound, without what was left out by rule and what was asked for. \
         Planned = played + excused + blamed = played + partial + missed.",
    ),
    (
        "已播",
        "声卡接收了应播声音的 99.5% 以上。已播 = 准点 + 补播。",
        "played",
        "the sound card took at least 99.5 % of the sound. Played = on time + made up.",
    ),
    (
        "准点",
        "已播，且开始时间与应播时间相差不超过 60 秒。",
        "on time",
        "played, and begun within 60 s of its due time.",
    ),
    (
        "补播",
        "已播，但开始时间与应播时间相差 60 秒以上（例如来电以后、别的播报结束以后才播）。",
        "made up",
        "played, but begun more than 60 s from its due time: after a power cut, or behind another announcement.",
    ),
    ("部分", "播了一部分就中断，且不是按规则中断的。", "partial", "it broke off after a part, and not by rule."),
    (
        "漏播",
        "应播而完全没有声音，包括有人停播或临时静音造成的。",
        "missed",
        "nothing was heard of it, also where somebody stopped or hushed the station.",
    ),
    (
        "免责",
        "部分和漏播中，原因是停电、关机等的次数。记录分不清停电、关机和退出程序，所以免责超过应播一半的站点不排名次，由人核实。",
        "excused",
        "of partial and missed: for want of power, or with the machine off. A journal cannot tell a power cut from a \
         machine switched off or a program that was ended, so a station with more than half of its planned announcements \
         excused has no place, and people have to look at it.",
    ),
    (
        "责任",
        "部分和漏播中，其余原因（设备、音频、时钟、人为停播或静音）的次数。",
        "blamed",
        "of partial and missed: for every other reason (equipment, clips, clock, somebody stopped or hushed it).",
    ),
    (
        "按规则不播",
        "静音时段、每日时长、重叠、当日取消、停用等规则要求不播或中断的次数，不算应播。",
        "left out by rule",
        "what quiet hours, the day's limit, an overlap, a cancelled day and other rules left out or cut. Not planned.",
    ),
    (
        "临时播出",
        "有人在页面上点播、或由指令播出的次数（不论结果），不算应播。",
        "asked for",
        "what a person or a command asked for, whatever became of it. Not planned.",
    ),
    (
        "播出分钟",
        "声卡接收的全部声音的长度，包括部分播出和临时播出。",
        "minutes",
        "the length of all sound that the card took, also of what was partial or asked for.",
    ),
    ("播出率", "已播 ÷ 应播。", "rate", "played ÷ planned."),
    ("准点率", "准点 ÷ 已播。", "punctuality", "on time ÷ played."),
    ("责任播出率", "已播 ÷（应播 − 免责）。", "rate without the excused", "played ÷ (planned − excused)."),
    (
        "计入天数",
        "从入网之日（或月初）到月底、注销之日或昨天的天数；入网以前的记录不计。",
        "days",
        "from the day the station was taken in, or the first of the month, to the end of the month, the day it was \
         revoked, or yesterday. What was before it was taken in does not count.",
    ),
    (
        "无应播",
        "没有记录的一天，但播出记录在它之前和之后都连续：那天没有安排播出。",
        "nothing planned",
        "a day without a row inside a journal that goes on without gap: nothing was planned.",
    ),
    (
        "无记录",
        "没有收到任何播出记录的一天。不等于没有问题：播没播都不知道。以后补传的，报表会随之更新。",
        "no record",
        "a day of which no row has come. That is not good: nobody knows what was heard. If it comes later, the report \
         follows.",
    ),
    (
        "在线率",
        "与平台保持连接的时间 ÷ 计入的时间。断网不影响播出，所以不计入得分。",
        "online",
        "time connected ÷ time that counts. A station plays without a line, so this is no part of the score.",
    ),
    (
        "得分",
        "责任播出率 ×（计入天数 − 无记录）÷ 计入天数。无记录的一天按一次没播计。",
        "score",
        "rate without the excused × (days − no record) ÷ days. A day without record counts as one on which nothing was \
         played.",
    ),
    (
        "名次",
        "按得分从高到低，相同的并列。没有应播、整月无记录、免责过半或已注销的站点不排名次，列在最后。",
        "place",
        "by score; equals share one. A station with nothing planned, without any record, with more than half excused, \
         or revoked has none and comes last.",
    ),
];

/// Returns every definition, in the order of the columns.
pub fn definitions() -> Vec<Definition> {
    let definition =
        |(zh, zh_text, en, en_text)| Definition { term: Said::new(zh, en), text: Said::new(zh_text, en_text) };
    DEFINITIONS.into_iter().map(definition).collect()
}

/// Returns each class with the reasons that count so.
pub fn reasons(language: Language) -> Vec<(String, String)> {
    let separator = language.pick("、", "; ");
    let list = |class: Class| class.reasons().map(|reason| reason.said(language)).collect::<Vec<_>>().join(separator);
    Class::ALL.into_iter().map(|class| (class.said(language), list(class))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_is_defined_once_in_either_language() {
        for language in [Language::Chinese, Language::English] {
            let terms: std::collections::BTreeSet<_> =
                definitions().iter().map(|one| one.term.in_language(language).to_owned()).collect();
            assert_eq!(terms.len(), DEFINITIONS.len());
            assert!(definitions().iter().all(|one| one.text.in_language(language).len() > 10));
        }
        assert!(definitions().iter().all(|one| one.text.en.is_ascii() || one.text.en.contains(['÷', '−', '×'])));
    }

    #[test]
    fn each_reason_is_printed_under_its_class() {
        let printed = reasons(Language::Chinese);
        assert_eq!(printed[1], ("免责".to_owned(), "断电、指令过期、关机或程序未运行".to_owned()));
        assert_eq!(printed.len(), 3);
    }
}
