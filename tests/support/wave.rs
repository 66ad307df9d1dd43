//! Sounds that can be told apart, and how to find one again in a recording.

use super::rig::RATE;

/// A sound of its own for every `seed`: a tone whose pitch jumps ten times a second, never twice the same way.
pub fn melody(seed: u64, seconds: f64) -> Vec<f32> {
    let mut phase = 0.0_f64;
    (0..(seconds * RATE as f64) as usize)
        .map(|i| {
            let step = (i / (RATE / 10)) as u64;
            let pitch = 200.0 + (mix(seed << 32 | step) % 700) as f64;
            phase += pitch * std::f64::consts::TAU / RATE as f64;
            (phase.sin() / 2.0) as f32
        })
        .collect()
}

/// A number that looks random and is the same each time.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The samples as a mono 16-bit WAV file.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let mut file = header(RATE as u32, 16, u32::try_from(samples.len() * 2).expect("a short clip"));
    file.extend(samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()));
    file
}

/// The first 44 bytes of a mono WAV file whose samples take `bytes`.
pub fn header(rate: u32, bits: u16, bytes: u32) -> Vec<u8> {
    let width = bits / 8;
    let mut file = Vec::from(*b"RIFF");
    file.extend_from_slice(&bytes.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * u32::from(width)).to_le_bytes());
    file.extend_from_slice(&width.to_le_bytes());
    file.extend_from_slice(&bits.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    file
}

/// Where a sound is in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its first sample.
    pub at: usize,
    /// How alike, 1 at best.
    pub likeness: f64,
    /// How loud, as a factor of the sound's own loudness.
    pub gain: f64,
}

/// How alike a sound must be to count as found.
pub const ALIKE: f64 = 0.9;

/// How much coarser the first look is.
const COARSE: usize = 12;

/// Returns every place in `recording` where `sound` is heard whole, in order.
pub fn find(sound: &[f32], recording: &[f32]) -> Vec<Hit> {
    // A first look at a twelfth of the rate with the sound's first second; then the whole sound at every sample near by.
    let (small, long) = (coarse(&sound[..sound.len().min(RATE)]), coarse(recording));
    if long.len() < small.len() {
        return Vec::new();
    }
    let likeness: Vec<f64> =
        (0..=long.len() - small.len()).map(|i| compare(&small, &long[i..i + small.len()]).0).collect();
    let mut order: Vec<usize> = (0..likeness.len()).filter(|i| likeness[*i] > 0.4).collect();
    order.sort_by(|a, b| likeness[*b].total_cmp(&likeness[*a]));
    let mut hits: Vec<Hit> = Vec::new();
    for i in order {
        let near = i * COARSE;
        if hits.iter().any(|hit| hit.at.abs_diff(near) < sound.len() / 2) {
            continue;
        }
        let best = (near.saturating_sub(COARSE)..near + COARSE)
            .filter(|at| at + sound.len() <= recording.len())
            .map(|at| {
                let (likeness, gain) = compare(sound, &recording[at..at + sound.len()]);
                Hit { at, likeness, gain }
            })
            .max_by(|a, b| a.likeness.total_cmp(&b.likeness));
        hits.extend(best.filter(|hit| hit.likeness >= ALIKE));
    }
    hits.sort_by_key(|hit| hit.at);
    hits
}

fn coarse(samples: &[f32]) -> Vec<f32> {
    samples.chunks_exact(COARSE).map(|chunk| chunk.iter().sum()).collect()
}

/// Returns how alike two sounds of one length are, and how loud `b` is against `a`.
fn compare(a: &[f32], b: &[f32]) -> (f64, f64) {
    let (mut product, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        product += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    if of_a == 0.0 || of_b == 0.0 { (0.0, 0.0) } else { (product / (of_a * of_b).sqrt(), product / of_a) }
}
