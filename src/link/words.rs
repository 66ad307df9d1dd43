//! Words by which two people compare a root over the telephone.
//!
//! Eight of 256 words: 64 bits of the sha256 of the root. What has to be found to deceive is a second root with the words
//! of a given one, within the day that an enrolment code lives: about 2⁶⁴ tries, of which a thousand graphics cards make
//! one in a few weeks. A birthday search finds nothing, since the office's root stands before the attacker begins; that
//! is also why the station's own key is not mixed in (an attacker in the middle chooses both sides then, and 2³² tries
//! would do): the office says the key it has in the signed [`super::Place`].
//!
//! Chinese words, for the clerks who read them out have an ear for them and none for hexadecimal digits. Each has two
//! characters, for two syllables survive a bad line; all are things that everybody has seen or done. No character stands
//! in two of them, so that hearing half a word names it, and no two sound alike, not even to an ear that does not tell
//! z from zh, n from ng, l from n and r, f from h, or one tone from another: half of the country's do not. The test below
//! holds the list to it.

use crate::text::Language;

/// One word a line, sorted by sound: characters, then syllables without tones.
const WORDS: &str = include_str!("words.txt");

/// Eight words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words([u8; 8]);

impl Words {
    /// The words of a sha256.
    pub(super) fn of(hash: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        Self([a, b, c, d, e, f, g, h])
    }

    /// The words as they are shown: characters in Chinese, syllables where English is read.
    pub fn said(&self, language: Language) -> String {
        let word = |byte: &u8| {
            let (characters, syllables) = list().nth(usize::from(*byte)).unwrap_or_default();
            language.pick(characters.to_owned(), syllables.replace(' ', ""))
        };
        self.0.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    WORDS.lines().filter_map(|line| line.split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// How a syllable sounds to an ear that mixes up what dialects mix up.
    fn heard(syllable: &str) -> String {
        let syllable = syllable.replace("zh", "z").replace("ch", "c").replace("sh", "s");
        let syllable = syllable.strip_suffix('g').filter(|rest| rest.ends_with('n')).unwrap_or(&syllable);
        if let Some(rest) = syllable.strip_prefix(['l', 'r']) {
            return format!("n{rest}");
        }
        match syllable.strip_prefix("hu") {
            Some("") => "fu".into(),
            Some(rest) => format!("f{rest}"),
            None => syllable.into(),
        }
    }

    #[test]
    fn no_two_words_share_a_character_or_sound_alike() {
        let (mut characters, mut sounds) = (BTreeSet::new(), BTreeSet::new());
        for (word, syllables) in list() {
            assert_eq!((word.chars().count(), syllables.split(' ').count()), (2, 2), "{word}");
            assert!(word.chars().all(|c| characters.insert(c)), "{word}");
            assert!(sounds.insert(syllables.split(' ').map(heard).collect::<String>()), "{word}");
        }
        assert_eq!(sounds.len(), 256);
    }

    #[test]
    fn the_words_of_a_hash_never_change() {
        let words = Words::of(&std::array::from_fn(|at| u8::try_from(at * 36).unwrap_or(255)));
        assert_eq!(words.said(Language::Chinese), "鹌鹑 端午 火箭 脸盆 农村 塑料 眼睛 桌椅");
        assert!(words.said(Language::English).starts_with("anchun duanwu huojian "));
    }
}
