// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sub-buffers made by hand: the kernel's side of the format, written down a second time.
//!
//! Uses nothing of the crate, so that a wrong idea in the decoder cannot hide behind the same wrong idea here. Plays the
//! writer: records are given with the time they were made at, and the builder chooses between delta, time extend and
//! absolute stamp as the kernel does. Source: kernel/trace/ring_buffer.c `rb_update_event`, `rb_event_discard`,
//! `rb_reset_tail`, `ring_buffer_read_page`.

/// Largest delta a record header holds, plus one.
pub const DELTA_END: u64 = 1 << 27;

const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

/// What is lost in front of a sub-buffer and how the kernel says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Nothing,
    /// Flag and number.
    Stored(u64),
    /// The flag alone.
    Flag,
}

#[derive(Clone, Debug)]
pub struct Synth {
    /// Bytes of the kernel's `long`.
    long: usize,
    /// Bytes of the sub-buffer.
    size: usize,
    stamp: u64,
    /// The writer's clock: time of the last thing written.
    pub now: u64,
    data: Vec<u8>,
    lost: Lost,
    commit: Option<u64>,
}

impl Synth {
    /// An empty sub-buffer of a kernel whose `long` has `long` bytes.
    pub fn new(long: usize, size: usize, stamp: u64) -> Synth {
        assert!(long == 4 || long == 8);
        Synth { long, size, stamp, now: stamp, data: Vec::new(), lost: Lost::Nothing, commit: None }
    }

    /// The usual one: 64-bit, 4 KiB.
    pub fn usual(stamp: u64) -> Synth {
        Synth::new(8, 4096, stamp)
    }

    pub fn header_size(&self) -> usize {
        8 + self.long
    }

    /// Bytes that can still be written.
    pub fn room(&self) -> usize {
        self.size - self.header_size() - self.data.len()
    }

    /// Offset of what is written next, from the start of the data.
    pub fn at(&self) -> usize {
        self.data.len()
    }

    pub fn word(&mut self, word: u32) -> &mut Synth {
        self.bytes(&word.to_le_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Synth {
        self.data.extend_from_slice(bytes);
        self
    }

    /// A record header: 5 bits type or length in words, 27 bits delta.
    pub fn head(&mut self, type_len: u32, delta: u64) -> &mut Synth {
        assert!(type_len < 32 && delta < DELTA_END);
        self.word(type_len | (delta as u32) << 5)
    }

    fn delta_to(&mut self, ts: u64) -> u64 {
        let delta = ts - self.now;
        self.now = ts;
        delta
    }

    /// A record whose length in words stands in the header; `payload` has 4 to 112 bytes.
    pub fn short(&mut self, ts: u64, payload: &[u8]) -> &mut Synth {
        assert!(payload.len() % 4 == 0 && (4..=112).contains(&payload.len()));
        let delta = self.delta_to(ts);
        self.head(payload.len() as u32 / 4, delta).bytes(payload)
    }

    /// A record with a length word.
    pub fn long(&mut self, ts: u64, payload: &[u8]) -> &mut Synth {
        assert!(payload.len() % 4 == 0);
        let delta = self.delta_to(ts);
        self.head(0, delta).word(payload.len() as u32 + 4).bytes(payload)
    }

    /// A record of 12 bytes, for which the kernel reserves 16 so that a time extend and padding would fit in its place.
    pub fn grown(&mut self, ts: u64, payload: [u8; 8]) -> &mut Synth {
        let delta = self.delta_to(ts);
        self.head(3, delta).bytes(&payload).bytes(&[0xdd; 4])
    }

    /// The place of such a record that was discarded and made a time extend, with padding behind it.
    pub fn grown_to_extend(&mut self, ts: u64) -> &mut Synth {
        self.extend(ts).head(PADDING, 1).word(4)
    }

    /// Moves the clock by a time extend.
    pub fn extend(&mut self, ts: u64) -> &mut Synth {
        let delta = self.delta_to(ts);
        self.head(TIME_EXTEND, delta % DELTA_END).word(u32::try_from(delta / DELTA_END).unwrap())
    }

    /// Sets the clock by an absolute stamp, which holds 59 bits.
    pub fn absolute(&mut self, ts: u64) -> &mut Synth {
        self.now = ts;
        let stored = ts % (1 << 59);
        self.head(TIME_STAMP, stored % DELTA_END).word((stored / DELTA_END) as u32)
    }

    /// A discarded record of `len` bytes behind its header, of which the first four become its length. The writer's
    /// clock has moved; a delta of 0 is written as 1.
    pub fn discarded(&mut self, ts: u64, len: usize) -> &mut Synth {
        assert!(len >= 4 && len % 4 == 0);
        let delta = self.delta_to(ts);
        self.head(PADDING, delta.max(1)).word(len as u32).bytes(&vec![0xee; len - 4])
    }

    /// The padding that ends a sub-buffer, followed by what happens to be in memory.
    pub fn end(&mut self, rest: &[u8]) -> &mut Synth {
        self.head(PADDING, 0).bytes(rest)
    }

    pub fn lost(&mut self, lost: Lost) -> &mut Synth {
        self.lost = lost;
        self
    }

    /// Puts this into the `commit` word, whatever was written.
    pub fn commit(&mut self, commit: u64) -> &mut Synth {
        self.commit = Some(commit);
        self
    }

    /// The whole sub-buffer, the unused rest zeroed.
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.stamp.to_le_bytes().to_vec();
        let mut commit = self.data.len() as u64;
        // The kernel adds `1 << 31` as an int, which is negative: on 64 bits the upper half becomes all ones.
        match self.lost {
            Lost::Nothing => {}
            Lost::Stored(_) => commit = commit.wrapping_add(1 << 30).wrapping_add(-(1i64 << 31) as u64),
            Lost::Flag => commit = commit.wrapping_add(-(1i64 << 31) as u64),
        }
        let commit = self.commit.unwrap_or(commit);
        out.extend_from_slice(&commit.to_le_bytes()[..self.long]);
        out.extend_from_slice(&self.data);
        if let Lost::Stored(count) = self.lost {
            out.extend_from_slice(&count.to_le_bytes()[..self.long]);
        }
        assert!(out.len() <= self.size, "{} bytes do not fit into a sub-buffer of {}", out.len(), self.size);
        out.resize(self.size, 0);
        out
    }

    /// The kernel's text of such a sub-buffer's header.
    pub fn header_page(&self) -> String {
        let head = self.header_size();
        format!(
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
             \tfield: local_t commit;\toffset:8;\tsize:{};\tsigned:1;\n\
             \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
             \tfield: char data;\toffset:{head};\tsize:{};\tsigned:0;\n",
            self.long,
            self.size - head
        )
    }
}
