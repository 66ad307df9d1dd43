//! Writes the prepared sound: FLAC of one channel, 16 bit, 48 kHz.
//!
//! Only what such a file needs: blocks of 4,096 samples, each by the best of FLAC's five fixed predictors, as it is, or
//! as one value. A general encoder spends a third of an import's processor time on choices that are made here once. The
//! sum of all samples is left out, as the format allows: every frame carries a checksum of its own.

use crate::plan::RATE;
use std::io::{self, Seek, SeekFrom, Write};

/// Samples in a block.
const BLOCK: usize = 4096;

/// Residuals of a whole block are coded in this many parts, each as wide as it needs.
const PARTS: usize = 8;

/// The widest code of a residual that the short form allows.
const WIDEST: u32 = 14;

/// Takes samples; whole blocks are written at once, the rest at the end.
#[derive(Debug)]
pub(super) struct Writer<W: Write + Seek> {
    out: W,
    /// Less than a block.
    waiting: Vec<i16>,
    frames: u64,
    blocks: u32,
    bits: Bits,
    residuals: [Vec<i32>; 5],
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&header(0))?;
        Ok(Self {
            out,
            waiting: Vec::with_capacity(BLOCK),
            frames: 0,
            blocks: 0,
            bits: Bits::default(),
            residuals: Default::default(),
        })
    }

    /// Takes samples.
    pub fn write(&mut self, mut samples: &[i16]) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(BLOCK - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            samples = later;
            if self.waiting.len() == BLOCK {
                let block = std::mem::take(&mut self.waiting);
                self.block(&block)?;
                self.waiting = block;
                self.waiting.clear();
            }
        }
        let mut blocks = samples.chunks_exact(BLOCK);
        for block in &mut blocks {
            self.block(block)?;
        }
        self.waiting.extend_from_slice(blocks.remainder());
        Ok(())
    }

    /// Ends the file; returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            self.block(&rest)?;
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.frames))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes one block: 1 to 4,096 samples.
    fn block(&mut self, samples: &[i16]) -> io::Result<()> {
        self.bits.clear();
        self.frame_header(samples.len());
        self.subframe(samples);
        let frame = self.bits.whole_bytes();
        let checksum = frame.iter().fold(0, |crc: u16, byte| crc << 8 ^ CRC_16[usize::from((crc >> 8) as u8 ^ byte)]);
        self.out.write_all(frame)?;
        self.out.write_all(&checksum.to_be_bytes())?;
        self.blocks += 1;
        self.frames += samples.len() as u64;
        Ok(())
    }

    fn frame_header(&mut self, length: usize) {
        let whole = length == BLOCK;
        // Sync code; size of the block (4,096, or 16 bits that follow) and 48 kHz; one channel of 16 bit.
        self.bits.put(0xfff8, 16);
        self.bits.put(if whole { 0xca } else { 0x7a }, 8);
        self.bits.put(0x08, 8);
        self.number();
        if !whole {
            self.bits.put(length as u32 - 1, 16);
        }
        let checksum = self.bits.whole_bytes().iter().fold(0, |crc, byte| crc_8(crc ^ byte));
        self.bits.put(u32::from(checksum), 8);
    }

    /// Puts the block's number, as UTF-8 would a character's.
    fn number(&mut self) {
        let number = self.blocks;
        let more = match number {
            0..0x80 => return self.bits.put(number, 8),
            0x80..0x800 => 1,
            0x800..0x1_0000 => 2,
            0x1_0000..0x20_0000 => 3,
            _ => 4,
        };
        let marks = 0xff << (7 - more) & 0xff;
        self.bits.put(marks | number >> (6 * more), 8);
        for part in (0..more).rev() {
            self.bits.put(0x80 | number >> (6 * part) & 0x3f, 8);
        }
    }

    fn subframe(&mut self, samples: &[i16]) {
        let sample = |sample: i16| u32::from(sample.cast_unsigned());
        if samples.iter().all(|other| *other == samples[0]) {
            self.bits.put(0, 8);
            self.bits.put(sample(samples[0]), 16);
            return;
        }
        let order = self.best_predictor(samples);
        let residuals = &self.residuals[order][..];
        let parts = if samples.len() == BLOCK { PARTS } else { 1 };
        let each = samples.len() / parts;
        // Of the first part the predictor has taken its beginning.
        let part = |at: usize| &residuals[(at * each).saturating_sub(order)..(at + 1) * each - order];
        let widths: [u32; PARTS] = std::array::from_fn(|at| if at < parts { width(part(at)) } else { 0 });
        let size = |at: usize| 4 + coded_size(part(at), widths[at]);
        if order * 16 + 6 + (0..parts).map(size).sum::<usize>() >= samples.len() * 16 {
            self.bits.put(0x02, 8);
            samples.iter().for_each(|value| self.bits.put(sample(*value), 16));
            return;
        }
        self.bits.put(0x10 | (order as u32) << 1, 8);
        samples[..order].iter().for_each(|value| self.bits.put(sample(*value), 16));
        self.bits.put(parts.ilog2(), 6);
        for (at, width) in widths.into_iter().enumerate().take(parts) {
            self.bits.put(width, 4);
            part(at).iter().for_each(|residual| self.bits.put_residual(*residual, width));
        }
    }

    /// Fills in what each predictor leaves and returns the one that leaves least.
    fn best_predictor(&mut self, samples: &[i16]) -> usize {
        let most = 4.min(samples.len() - 1);
        self.residuals[0].clear();
        self.residuals[0].extend(samples.iter().map(|sample| i32::from(*sample)));
        for order in 1..=most {
            let (lower, higher) = self.residuals.split_at_mut(order);
            let (lower, higher) = (&lower[order - 1], &mut higher[0]);
            higher.clear();
            higher.extend(lower.iter().zip(&lower[1..]).map(|(before, now)| now - before));
        }
        // All over the same samples. A residual has 20 bits at most and there are 4,096: the sum fits.
        let left = |order: usize| -> u32 {
            self.residuals[order][most - order..].iter().map(|residual| residual.unsigned_abs()).sum()
        };
        (0..=most).min_by_key(|order| left(*order)).unwrap_or(0)
    }
}

/// The file's first 42 bytes.
fn header(frames: u64) -> [u8; 42] {
    let mut header = [0; 42];
    header[..8].copy_from_slice(b"fLaC\x80\0\0\x22");
    let block = (BLOCK as u16).to_be_bytes();
    header[8..10].copy_from_slice(&block);
    header[10..12].copy_from_slice(&block);
    // Rate in 20 bits, channels less one in 3, bits less one in 5, frames in 36.
    let facts = u64::from(RATE) << 44 | 15 << 36 | frames;
    header[18..26].copy_from_slice(&facts.to_be_bytes());
    header
}

/// Returns the width for residuals of this size on average.
fn width(residuals: &[i32]) -> u32 {
    let sum: u64 = residuals.iter().map(|residual| u64::from(residual.unsigned_abs())).sum();
    let count = residuals.len() as u64;
    (0..WIDEST).find(|width| count << width >= sum).unwrap_or(WIDEST)
}

/// Returns a residual as a number without sign: the small ones small.
fn folded(residual: i32) -> u32 {
    (residual << 1 ^ residual >> 31).cast_unsigned()
}

/// Returns the bits these residuals take.
fn coded_size(residuals: &[i32], width: u32) -> usize {
    residuals.iter().map(|residual| (folded(*residual) >> width) as usize + 1 + width as usize).sum()
}

/// Bits, the highest first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// The last bits put, of which the lowest `held` are not in `bytes` yet: fewer than 32.
    last: u64,
    held: u32,
}

impl Bits {
    fn clear(&mut self) {
        self.bytes.clear();
        self.held = 0;
    }

    /// Puts the lowest `count` bits, at most 32, of a value that has no others.
    fn put(&mut self, value: u32, count: u32) {
        self.last = self.last << count | u64::from(value);
        self.held += count;
        if self.held >= 32 {
            self.held -= 32;
            self.bytes.extend_from_slice(&((self.last >> self.held) as u32).to_be_bytes());
        }
    }

    fn put_residual(&mut self, residual: i32, width: u32) {
        let folded = folded(residual);
        let mut zeros = folded >> width;
        while zeros + 1 + width > 32 {
            let some = zeros.min(32);
            self.put(0, some);
            zeros -= some;
        }
        self.put(1 << width | folded & ((1 << width) - 1), zeros + 1 + width);
    }

    /// Fills the last byte up with zeros; returns all.
    fn whole_bytes(&mut self) -> &[u8] {
        self.put(0, self.held.wrapping_neg() & 7);
        for byte in (0..self.held / 8).rev() {
            self.bytes.push((self.last >> (8 * byte)) as u8);
        }
        self.held = 0;
        &self.bytes
    }
}

fn crc_8(crc: u8) -> u8 {
    (0..8).fold(crc, |crc, _| crc << 1 ^ if crc & 0x80 != 0 { 0x07 } else { 0 })
}

const CRC_16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc & 0x8000 != 0 { 0x8005 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use flac_codec::{decode::FlacSampleReader, metadata::Metadata};
    use proptest::prelude::*;
    use std::io::Cursor;

    fn written(pieces: &[&[i16]]) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        pieces.iter().for_each(|piece| writer.write(piece).unwrap());
        writer.finish().unwrap().into_inner()
    }

    fn read(file: &[u8]) -> Vec<i32> {
        let mut reader = FlacSampleReader::new(Cursor::new(file)).unwrap();
        assert_eq!((reader.sample_rate(), reader.channel_count(), reader.bits_per_sample()), (RATE, 1, 16));
        let mut samples = Vec::new();
        reader.read_to_end(&mut samples).unwrap();
        samples
    }

    fn is_read_as_written(samples: &[i16]) {
        let (first, second) = samples.split_at(samples.len() / 3);
        let file = written(&[first, second]);
        assert!(
            read(&file).into_iter().eq(samples.iter().map(|sample| i32::from(*sample))),
            "{} samples",
            samples.len()
        );
        assert!(file.len() <= 42 + samples.len() * 2 + samples.len().div_ceil(BLOCK) * 16, "{} bytes", file.len());
    }

    #[test]
    fn every_sound_is_read_back_to_the_sample() {
        let ends = |at: usize| if at.is_multiple_of(2) { i16::MIN } else { i16::MAX };
        let curve = |at: usize| (20_000.0 * (at as f64 / 30.0).sin()) as i16;
        let click = |at: usize| if at % 1000 == 7 { 30_000 } else { 0 };
        let hiss = |at: usize| (at as u32).wrapping_mul(2_654_435_761).rotate_left(9) as i16;
        let signals: [&dyn Fn(usize) -> i16; 6] = [&|_| 0, &|_| -7, &ends, &curve, &click, &hiss];
        for signal in signals {
            for length in [0, 1, 2, 3, 4, 5, 4095, 4096, 4097, 20_000] {
                is_read_as_written(&(0..length).map(signal).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn blocks_are_numbered_as_characters_are() {
        // Two hours have 84,375 blocks.
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 84_374] {
            writer.blocks = number;
            writer.bits.clear();
            writer.number();
            let character = char::from_u32(number).unwrap();
            assert_eq!(writer.bits.whole_bytes(), character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        let block: Vec<i16> = (0..BLOCK).map(|at| at as i16 & 15).collect();
        assert_eq!(read(&written(&vec![block.as_slice(); 130])).len(), BLOCK * 130);
    }

    proptest! {
        #[test]
        fn whatever_the_samples_they_are_read_back(
            samples in prop::collection::vec(any::<i16>(), 0..9000),
            shift in 0u32..16,
        ) {
            is_read_as_written(&samples.iter().map(|sample| sample >> shift).collect::<Vec<_>>());
        }
    }
}
