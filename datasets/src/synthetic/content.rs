//! Feature rows of generated streams.
//!
//! A row is noise plus a weak signature of its (source, destination) pair, so
//! that features carry some information and are different at every event.
//! Values are pure functions of seed, event and column; rows are filled in
//! parallel. f32 features have mean 0 and variance of about 0.2; bits are set in
//! about a quarter of the places.

use rayon::prelude::*;

use crate::random::Words;
use crate::store::FeatureShape;
use crate::stream::features::FeatureType;

pub(super) struct Content {
    pairs: Words,
    noise: Words,
    nodes: Words,
}

impl Content {
    pub(super) fn new(seed: u64) -> Content {
        let words = Words::new(seed, u64::from_le_bytes(*b"features"));
        Content {
            pairs: words.child(0),
            noise: words.child(1),
            nodes: words.child(2),
        }
    }

    /// Rows of the events `first..first + src.len()`, as stored bytes.
    pub(super) fn edge_rows(
        &self,
        shape: FeatureShape,
        first: u64,
        src: &[u32],
        dst: &[u32],
        out: &mut Vec<u8>,
    ) {
        fill(shape, src.len(), out, |row, bytes| {
            let signature = self
                .pairs
                .child(u64::from(src[row]) << 32 | u64::from(dst[row]));
            write_row(
                shape,
                signature,
                self.noise.child(first + row as u64),
                bytes,
            );
        });
    }

    /// Rows of all nodes, as stored bytes.
    pub(super) fn node_rows(&self, shape: FeatureShape, nodes: usize, out: &mut Vec<u8>) {
        fill(shape, nodes, out, |row, bytes| {
            let words = self.nodes.child(row as u64);
            write_row(shape, words.child(0), words.child(1), bytes);
        });
    }
}

fn fill(
    shape: FeatureShape,
    rows: usize,
    out: &mut Vec<u8>,
    row: impl Fn(usize, &mut [u8]) + Sync,
) {
    out.clear();
    out.resize(rows * shape.row_bytes(), 0);
    out.par_chunks_exact_mut(shape.row_bytes())
        .enumerate()
        .for_each(|(i, bytes)| row(i, bytes));
}

fn write_row(shape: FeatureShape, signature: Words, noise: Words, bytes: &mut [u8]) {
    match shape.feature_type {
        FeatureType::Bits => {
            for (i, out) in bytes.chunks_mut(8).enumerate() {
                let (pair, event) = (signature.at(i as u64), noise.at(i as u64));
                // A quarter of the places: half of those the pair favours.
                let word = (pair & event).to_le_bytes();
                out.copy_from_slice(&word[..out.len()]);
            }
            // Unused bits of the last byte are zero.
            if let (Some(last), used @ 1..) = (bytes.last_mut(), shape.width % 8) {
                *last &= (1u8 << used) - 1;
            }
        }
        FeatureType::F32 => {
            // Four 16-bit numbers from each word; sums and scalings are exact in f32.
            let centred = |word: u64, lane: usize| {
                f32::from((word >> (16 * lane)) as u16 as i16) * (1.0 / 32768.0)
            };
            for (i, group) in bytes.chunks_mut(16).enumerate() {
                let (pair, event) = (signature.at(i as u64), noise.at(i as u64));
                for (lane, out) in group.chunks_exact_mut(4).enumerate() {
                    let value = 0.25 * centred(pair, lane) + 0.75 * centred(event, lane);
                    out.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        // No published stream has f16 features, so no profile asks for them.
        FeatureType::F16 => unreachable!("no profile has f16 features"),
    }
}
