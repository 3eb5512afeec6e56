// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packed texts and tables, unpacked: for what is needed seldom, half or a quarter of the bytes in the program.
//!
//! Source: `tests/tables/packing.py`, which has packed them with the same model. Bit by bit a mixer puts the probability of a
//! one together from what followed the last none to two bytes and the word so far, and what followed where the last three
//! bytes stood before; all of them learn from the bit; an arithmetic decoder takes the bit out. The method is that of lpaq1
//! (M. Mahoney, "Data Compression Explained", 4.3).

const ORDERS: usize = 3;
/// The orders, the word, and the match.
const INPUTS: usize = ORDERS + 2;
/// The longest match that counts.
const LONGEST: usize = 15;
/// Places for the probabilities of each input, as a power of two.
const PLACES: u32 = 18;
const MULTIPLIER: u32 = 0x2f0b_4c47;

/// 4096 / (1 + e^(-x/256)), at every 128th.
const SQUASH: [u16; 33] = [
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
    3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
];

/// How far a probability goes toward a bit, by how often it has: 1 / (times + 1.5), of 65536.
const RATES: [i32; 7] = [43690, 26214, 18724, 14563, 11915, 10082, 8738];

fn squash(x: i32) -> i32 {
    if !(-2047..=2047).contains(&x) {
        return if x > 0 { 4095 } else { 1 };
    }
    let place = |at: i32| SQUASH.get(at as usize).copied().map_or(0, i32::from);
    let (weight, at) = (x & 127, (x >> 7) + 16);
    (place(at) * (128 - weight) + place(at + 1) * weight + 64) >> 7
}

/// What `packed` holds: `length` bytes.
#[inline(never)]
pub fn unpack(packed: &[u8], length: usize) -> Vec<u8> {
    // The inverse of `squash`.
    let mut stretch = vec![2047i32; 4096];
    let mut begin = 0;
    for x in -2047..=2047 {
        let end = squash(x) as usize + 1;
        for place in stretch.iter_mut().take(end).skip(begin) {
            *place = x;
        }
        begin = end;
    }
    // Probabilities of twelve bits, and in four how often they were asked for.
    let mut slots = vec![2048u16 << 4; INPUTS << PLACES];
    let mut weights = vec![[65536i32 * 3 / 10; INPUTS]; 256];
    let mut packed = packed.iter();
    let mut next = || u32::from(packed.next().copied().unwrap_or(0));
    let mut value = (0..4).fold(0, |value, _| value << 8 | next());
    let (mut low, mut high) = (0u32, u32::MAX);
    let mut out: Vec<u8> = Vec::with_capacity(length);
    let mut word = 0u32;
    // Where the last three bytes stood before, by their hash; where what follows them there stands, and how long the match is.
    let mut places = vec![0usize; 1 << 16];
    let (mut follows, mut matched) = (0, 0);
    while out.len() < length {
        let mut hashes = [word; INPUTS];
        let mut history = 0u32;
        let mut behind = out.iter().rev();
        for hash in hashes.iter_mut().take(ORDERS) {
            *hash = history;
            let byte = behind.next().copied().map_or(0, u32::from);
            history = history.wrapping_add(byte + 1).wrapping_mul(MULTIPLIER);
        }
        if let Some(before) = places.get_mut((history >> 16) as usize) {
            if matched == 0 {
                follows = *before;
                let earlier = out.iter().take(follows).rev().take(LONGEST);
                matched = earlier.zip(out.iter().rev()).take_while(|(one, other)| one == other).count();
            }
            *before = out.len();
        }
        let expected = u32::from(out.get(follows).copied().unwrap_or(0)) | 256;
        // The bits of the byte so far, behind a one.
        let mut partial = 1u32;
        while partial < 256 {
            let Some(row) = weights.get_mut(partial as usize) else { break };
            let mut seen = [(0usize, 0i32); INPUTS];
            let mut sum = 0i32;
            let left = partial.leading_zeros() - 23;
            let by_match = match expected >> left == partial && matched > 0 {
                true => (expected >> (left - 1) & 1) as usize * 16 + matched,
                false => 0,
            };
            for (at, ((hash, weight), seen)) in hashes.iter().zip(row.iter()).zip(&mut seen).enumerate() {
                let hash = hash.wrapping_add(partial.wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
                let place = if at == INPUTS - 1 { by_match } else { (hash >> (32 - PLACES)) as usize } + (at << PLACES);
                let chance = slots.get(place).map_or(0, |slot| slot >> 4);
                let vote = stretch.get(usize::from(chance)).copied().unwrap_or(0);
                *seen = (place, vote);
                sum = sum.wrapping_add(weight.wrapping_mul(vote) >> 8);
            }
            let chance = squash(sum >> 8);
            let middle = low + ((high - low) >> 12) * chance as u32;
            let bit = value <= middle;
            if bit {
                high = middle;
            } else {
                low = middle + 1;
            }
            while (low ^ high) >> 24 == 0 {
                (low, high, value) = (low << 8, high << 8 | 255, value << 8 | next());
            }
            let error = ((i32::from(bit) << 12) - chance) * 8;
            for (weight, (place, vote)) in row.iter_mut().zip(seen) {
                *weight += (vote * error + 0x2000) >> 14;
                let Some(slot) = slots.get_mut(place) else { continue };
                let (chance, count) = (i32::from(*slot >> 4), i32::from(*slot & 15));
                let wanted = if bit { 4095 } else { 0 };
                let rate = RATES.get(count as usize).copied().unwrap_or(0);
                let chance = chance + (((wanted - chance) * rate) >> 16);
                *slot = (chance << 4 | (count + 1).min(RATES.len() as i32 - 1)) as u16;
            }
            partial = partial << 1 | u32::from(bit);
        }
        let byte = partial as u8;
        (matched, follows) =
            if u32::from(byte) | 256 == expected { (LONGEST.min(matched + 1), follows + 1) } else { (0, 0) };
        out.push(byte);
        word = if byte.is_ascii_alphabetic() { word.wrapping_add(u32::from(byte)).wrapping_mul(MULTIPLIER) } else { 0 };
    }
    out
}
