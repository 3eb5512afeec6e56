// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sub-buffer decoder against pages from a builder that knows nothing of it (`common/synth.rs`).
// clippy.toml allows them in test functions, and a helper of tests is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::rng::Rng;
use common::synth::{Lost, Synth, DELTA_END};
use ftrace_analyzer::format::parse_header_page;
use ftrace_analyzer::ringbuf::{Missed, Page, PageError, PageLayout, Record};

const T0: u64 = 1_000_000;

fn layout(synth: &Synth) -> PageLayout {
    parse_header_page(&synth.header_page()).unwrap()
}

/// The records as owned values, and the error that ended them.
fn decode(bytes: &[u8], layout: &PageLayout) -> (Vec<(u64, Vec<u8>)>, Option<PageError>) {
    let page = match Page::parse(bytes, layout) {
        Ok(page) => page,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    let mut all = page.records();
    for record in all.by_ref() {
        match record {
            Ok(Record { ts, data }) => records.push((ts, data.to_vec())),
            Err(error) => {
                assert!(all.next().is_none(), "nothing follows an error");
                return (records, Some(error));
            }
        }
    }
    (records, None)
}

fn records(synth: &Synth) -> Vec<(u64, Vec<u8>)> {
    let (records, error) = decode(&synth.build(), &layout(synth));
    assert_eq!(error, None);
    records
}

fn times(synth: &Synth) -> Vec<u64> {
    records(synth).into_iter().map(|(ts, _)| ts).collect()
}

fn error(synth: &Synth) -> (usize, PageError) {
    let (records, error) = decode(&synth.build(), &layout(synth));
    (records.len(), error.expect("an error"))
}

// ---- header -----------------------------------------------------------------------------------------------------

#[test]
fn a_page_without_records_is_empty_and_has_its_time() {
    for long in [4, 8] {
        let synth = Synth::new(long, 4096, 0x1234_5678_9abc_def0);
        let bytes = synth.build();
        let page = Page::parse(&bytes, &layout(&synth)).unwrap();
        assert_eq!((page.timestamp(), page.len(), page.is_empty()), (0x1234_5678_9abc_def0, 0, true));
        assert_eq!(page.missed(), Missed::None);
        assert_eq!(page.records().count(), 0);
    }
}

#[test]
fn the_word_size_is_the_layouts() {
    for (long, first) in [(4, 12), (8, 16)] {
        let mut synth = Synth::new(long, 4096, T0);
        synth.short(T0 + 5, b"abcd");
        let bytes = synth.build();
        assert_eq!(&bytes[first + 4..first + 8], b"abcd");
        let page = Page::parse(&bytes, &layout(&synth)).unwrap();
        let mut all = page.records();
        assert_eq!(all.offset(), first);
        assert_eq!(all.next(), Some(Ok(Record { ts: T0 + 5, data: b"abcd" })));
        assert_eq!(all.offset(), first + 8);
    }
}

#[test]
fn sub_buffers_of_any_size_are_read_to_their_end() {
    for size in [256, 4096, 16384, 65536, 1 << 20] {
        for long in [4, 8] {
            let mut synth = Synth::new(long, size, T0);
            let mut count = 0;
            while synth.room() >= 8 {
                count += 1;
                synth.short(T0 + count, b"abcd");
            }
            let records = records(&synth);
            assert_eq!((records.len() as u64, records.last().unwrap().0), (count, T0 + count));
        }
    }
}

#[test]
fn bytes_behind_the_sub_buffer_are_not_its_own() {
    // A commit that reaches past the sub-buffer's end is damage even when the caller's buffer goes on.
    let mut synth = Synth::usual(T0);
    synth.commit(4096);
    let mut bytes = synth.build();
    bytes.extend_from_slice(&[0; 4096]);
    assert_eq!(
        Page::parse(&bytes, &layout(&synth)).map(|_| ()),
        Err(PageError::ShortData { commit: 4096, have: 4080 })
    );
}

#[test]
fn the_length_is_27_bits_of_the_commit_word() {
    let mut synth = Synth::usual(T0);
    synth.short(T0, b"abcd");
    // Bits 27 to 29 mean nothing yet; 30 without 31 neither.
    for bits in [1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 40, 1 << 63, 0x7fff_ffff << 32] {
        let synth = synth.clone().commit(8 | bits).clone();
        let bytes = synth.build();
        let page = Page::parse(&bytes, &layout(&synth)).unwrap();
        assert_eq!((page.len(), page.missed()), (8, Missed::None), "{bits:#x}");
    }
    let synth = synth.commit((1 << 27) - 1).clone();
    let (count, error) = error(&synth);
    assert_eq!((count, error), (0, PageError::ShortData { commit: (1 << 27) - 1, have: 4080 }));
    assert_eq!(error.offset_in_page(16), 8);
}

#[test]
fn a_page_shorter_than_its_header_is_an_error() {
    for long in [4, 8] {
        let synth = Synth::new(long, 4096, T0);
        let bytes = synth.build();
        for have in 0..synth.header_size() {
            assert_eq!(Page::parse(&bytes[..have], &layout(&synth)).map(|_| ()), Err(PageError::ShortHeader { have }));
        }
        assert!(Page::parse(&bytes[..synth.header_size()], &layout(&synth)).is_ok());
    }
}

#[test]
fn a_page_cut_off_in_its_data_is_an_error() {
    let mut synth = Synth::usual(T0);
    synth.short(T0, b"abcd").short(T0, b"efgh");
    let bytes = synth.build();
    for have in 0..16 {
        let error = PageError::ShortData { commit: 16, have };
        assert_eq!(Page::parse(&bytes[..16 + have], &layout(&synth)).map(|_| ()), Err(error));
    }
    // What was cut off behind the data is not missed.
    assert!(Page::parse(&bytes[..32], &layout(&synth)).is_ok());
}

// ---- missed events ----------------------------------------------------------------------------------------------

fn missed(synth: &Synth) -> Missed {
    let bytes = synth.build();
    let page = Page::parse(&bytes, &layout(synth)).unwrap();
    // Whatever the flags say, the records are the same.
    assert_eq!(page.len(), synth.at());
    page.missed()
}

#[test]
fn lost_events_are_told_with_their_number() {
    for (long, most) in [(4, u64::from(u32::MAX)), (8, u64::MAX)] {
        for count in [1, 421, most] {
            let mut synth = Synth::new(long, 4096, T0);
            synth.short(T0, b"abcd").lost(Lost::Stored(count));
            assert_eq!(missed(&synth), Missed::Count(count));
        }
    }
}

#[test]
fn the_upper_half_of_a_64_bit_commit_may_be_all_ones() {
    let mut synth = Synth::usual(T0);
    while synth.at() < 0xfc0 {
        synth.short(T0, &[7; 60]);
    }
    synth.lost(Lost::Stored(12));
    let bytes = synth.build();
    assert_eq!(bytes[8..16], 0xffff_ffff_c000_0fc0u64.to_le_bytes());
    assert_eq!(missed(&synth), Missed::Count(12));
    // And need not be: a kernel that adds the flag as unsigned is read the same.
    let synth = synth.commit(0xc000_0fc0).clone();
    assert_eq!(missed(&synth), Missed::Count(12));
}

#[test]
fn without_room_for_the_number_the_loss_is_unknown() {
    for long in [4, 8] {
        let mut synth = Synth::new(long, 256, T0);
        while synth.room() >= 8 {
            synth.short(T0, b"abcd");
        }
        synth.lost(Lost::Flag);
        assert_eq!(missed(&synth), Missed::Unknown);
        // Said to be stored, but there is no room: no byte outside the sub-buffer is taken for the number.
        let commit = 3 << 30 | synth.at() as u64;
        let synth = synth.lost(Lost::Nothing).commit(commit).clone();
        let mut bytes = synth.build();
        bytes.extend_from_slice(&[9; 64]);
        assert_eq!(Page::parse(&bytes, &layout(&synth)).unwrap().missed(), Missed::Unknown);
    }
}

#[test]
fn a_stored_number_of_zero_is_an_unknown_loss() {
    let mut synth = Synth::usual(T0);
    synth.lost(Lost::Stored(0));
    assert_eq!(missed(&synth), Missed::Unknown);
}

#[test]
fn a_number_cut_off_with_the_page_is_an_unknown_loss() {
    let mut synth = Synth::usual(T0);
    synth.short(T0, b"abcd").lost(Lost::Stored(7));
    let bytes = synth.build();
    assert_eq!(Page::parse(&bytes[..32], &layout(&synth)).unwrap().missed(), Missed::Count(7));
    for cut in 24..32 {
        assert_eq!(Page::parse(&bytes[..cut], &layout(&synth)).unwrap().missed(), Missed::Unknown);
    }
}

// ---- records ----------------------------------------------------------------------------------------------------

#[test]
fn types_1_to_28_are_lengths_in_words() {
    for words in 1..=28 {
        let payload: Vec<u8> = (0..words * 4).map(|byte| byte as u8).collect();
        let mut synth = Synth::usual(T0);
        synth.short(T0 + 3, &payload).short(T0 + 4, b"next");
        assert_eq!(records(&synth), [(T0 + 3, payload), (T0 + 4, b"next".to_vec())], "{words} words");
    }
}

#[test]
fn type_0_has_a_length_word_that_counts_itself() {
    for len in [0, 4, 112, 116, 1024, 4000] {
        let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let mut synth = Synth::usual(T0);
        synth.long(T0 + 3, &payload).short(T0 + 4, b"next");
        assert_eq!(records(&synth), [(T0 + 3, payload), (T0 + 4, b"next".to_vec())], "{len} bytes");
    }
}

#[test]
fn length_words_below_their_own_size_are_damage() {
    for length in 0..4 {
        for type_len in [0, 29] {
            let mut synth = Synth::usual(T0);
            synth.short(T0, b"abcd").head(type_len, 5).word(length).short(T0 + 9, b"lost");
            let (count, error) = error(&synth);
            assert_eq!((count, error), (1, PageError::ZeroLength { offset: 8 }));
            assert_eq!(error.offset_in_page(16), 24);
        }
    }
}

#[test]
fn a_zeroed_page_that_promises_data_is_an_error_and_not_a_loop() {
    let mut synth = Synth::usual(T0);
    synth.commit(4000);
    assert_eq!(error(&synth), (0, PageError::ZeroLength { offset: 0 }));
}

#[test]
fn a_record_that_reaches_past_the_data_is_an_error() {
    // Each with the data's end just before where it should be, and the bytes there: commit counts, not the page's end.
    let mut tails: Vec<Synth> = Vec::new();
    for words in 1..=28u32 {
        tails.push(Synth::usual(T0).short(T0, &vec![1; words as usize * 4]).clone());
    }
    tails.push(Synth::usual(T0).long(T0, &[1; 200]).clone());
    tails.push(Synth::usual(T0).discarded(T0 + 9, 64).clone());
    tails.push(Synth::usual(T0).extend(T0 + DELTA_END).clone());
    tails.push(Synth::usual(T0).absolute(T0).clone());
    for mut tail in tails {
        let len = tail.at();
        assert!(decode(&tail.build(), &layout(&tail)).1.is_none());
        for cut in 1..len {
            tail.commit((len - cut) as u64);
            assert_eq!(error(&tail), (0, PageError::Overrun { offset: 0 }), "{cut} bytes off {len}");
        }
    }
}

#[test]
fn length_words_of_any_size_do_not_leave_the_page() {
    for length in [4081u32, 4096, 0x7fff_fffc, 0x8000_0000, 0xffff_fff8, 0xffff_fffc, 0xffff_ffff] {
        for type_len in [0, 29] {
            let mut synth = Synth::usual(T0);
            synth.short(T0, b"abcd").head(type_len, 2).word(length).bytes(&[3; 100]);
            assert_eq!(error(&synth), (1, PageError::Overrun { offset: 8 }), "{length:#x}");
        }
    }
}

#[test]
fn a_grown_record_keeps_its_spare_bytes() {
    let mut synth = Synth::usual(T0);
    synth.grown(T0 + 2, *b"12345678").grown_to_extend(T0 + 5 * DELTA_END).short(T0 + 5 * DELTA_END + 1, b"next");
    let records = records(&synth);
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].0, &records[0].1[..8], records[0].1.len()), (T0 + 2, &b"12345678"[..], 12));
    assert_eq!(records[1], (T0 + 5 * DELTA_END + 1, b"next".to_vec()));
}

#[test]
fn padding_without_delta_ends_the_page_and_its_next_word_means_nothing() {
    for rest in [&[][..], &[0; 4], &[0xff; 4], &[8, 0, 0, 0, 1, 2, 3, 4, 0x21, 0, 0, 0, 5, 6, 7, 8]] {
        let mut synth = Synth::usual(T0);
        synth.short(T0 + 1, b"abcd").end(rest);
        assert_eq!(records(&synth), [(T0 + 1, b"abcd".to_vec())], "{rest:?}");
    }
}

#[test]
fn discarded_records_are_passed_over() {
    for len in [4, 8, 200] {
        let mut synth = Synth::usual(T0);
        synth.discarded(T0 + 2, len).short(T0 + 3, b"abcd").discarded(T0 + 4, len);
        assert_eq!(records(&synth), [(T0 + 3, b"abcd".to_vec())], "{len}");
    }
}

#[test]
fn a_cursor_stops_and_goes_on_anywhere() {
    let mut synth = Synth::usual(T0);
    synth.short(T0 + 1, b"abcd").discarded(T0 + 5, 8).long(T0 + 9, b"efgh");
    synth.extend(T0 + DELTA_END).grown(T0 + DELTA_END + 3, *b"12345678");
    let bytes = synth.build();
    let page = Page::parse(&bytes, &layout(&synth)).unwrap();
    let whole: Vec<_> = page.records().collect();
    let mut cursor = page.start();
    let mut parts = Vec::new();
    loop {
        let mut copy = cursor;
        let Some(record) = copy.next(page.data()) else { break };
        cursor = copy;
        parts.push(record);
    }
    assert_eq!(parts, whole);
    assert_eq!(whole.len(), 3);
}

// ---- time -------------------------------------------------------------------------------------------------------

#[test]
fn time_runs_from_the_pages_own_by_every_delta() {
    let mut synth = Synth::usual(T0);
    synth.short(T0, b"abcd").short(T0 + 1, b"abcd").long(T0 + 10, b"abcd").short(T0 + 9 + DELTA_END, b"abcd");
    assert_eq!(times(&synth), [T0, T0 + 1, T0 + 10, T0 + 9 + DELTA_END]);
}

#[test]
fn deltas_of_discarded_records_count() {
    let mut synth = Synth::usual(T0);
    synth.discarded(T0 + 1000, 8).short(T0 + 1001, b"abcd");
    assert_eq!(times(&synth), [T0 + 1001]);
}

#[test]
fn the_delta_1_of_a_discarded_record_stands_for_0() {
    let mut synth = Synth::usual(T0);
    synth.short(T0 + 7, b"abcd").discarded(T0 + 7, 8).discarded(T0 + 7, 8).short(T0 + 7, b"abcd");
    assert_eq!(times(&synth), [T0 + 7, T0 + 7]);
}

#[test]
fn a_time_extend_adds_27_bits_and_32_more() {
    let most = DELTA_END * (1 << 32) - 1;
    for delta in [0, 1, DELTA_END - 1, DELTA_END, DELTA_END + 1, 1 << 40, most] {
        let mut synth = Synth::usual(T0);
        synth.extend(T0 + delta).short(T0 + delta + 2, b"abcd").short(T0 + delta + 3, b"abcd");
        assert_eq!(times(&synth), [T0 + delta + 2, T0 + delta + 3]);
    }
}

#[test]
fn an_absolute_stamp_replaces_the_running_time() {
    let mut synth = Synth::usual(T0);
    synth.short(T0 + 9, b"abcd").absolute(1 << 50).short((1 << 50) + 2, b"abcd").short((1 << 50) + 5, b"abcd");
    assert_eq!(times(&synth), [T0 + 9, (1 << 50) + 2, (1 << 50) + 5]);
}

#[test]
fn an_absolute_stamp_takes_its_top_5_bits_from_the_running_time() {
    for top in [1u64, 8, 0x1f] {
        let base = top << 59;
        let mut synth = Synth::usual(base + 10);
        synth.absolute(base + 500).short(base + 501, b"abcd").extend(base + (1 << 45)).absolute(base + (1 << 46));
        synth.short(base + (1 << 46), b"abcd");
        assert_eq!(times(&synth), [base + 501, base + (1 << 46)], "top {top:#x}");
    }
}

#[test]
fn an_absolute_stamp_whose_59_bits_wrapped_goes_forward() {
    let mut synth = Synth::usual((2 << 59) - 10);
    synth.absolute((2 << 59) + 7).short((2 << 59) + 9, b"abcd");
    assert_eq!(times(&synth), [(2 << 59) + 9]);
}

#[test]
fn an_absolute_stamp_before_a_running_time_without_top_bits_goes_back() {
    // The kernel warns of such clocks and writes them; 2^59 must not be added where no clock has come that far.
    let mut synth = Synth::usual(1 << 40);
    synth.absolute(T0).short(T0 + 1, b"abcd");
    assert_eq!(times(&synth), [T0 + 1]);
}

#[test]
fn time_wraps_without_panic() {
    let mut synth = Synth::usual(u64::MAX);
    synth.head(1, 5).bytes(b"abcd").head(30, DELTA_END - 1).word(u32::MAX).head(1, 1).bytes(b"abcd");
    synth.head(31, DELTA_END - 1).word(u32::MAX).head(1, 1).bytes(b"abcd");
    assert_eq!(records(&synth).len(), 3);
}

// ---- everything at once -----------------------------------------------------------------------------------------

/// A page of random records, and what should come out of it.
fn random_page(rng: &mut Rng) -> (Synth, Vec<(u64, Vec<u8>)>, Lost) {
    let size = rng.pick(&[256, 4096, 4096, 16384, 65536]);
    // Below the top bits by far or amid them: between, the kernel's rule for absolute stamps has a gap of its own.
    let start = rng.below(1 << 58) + if rng.below(4) == 0 { (1 + rng.below(30)) << 59 } else { 0 };
    let mut synth = Synth::new(rng.pick(&[4, 8]), size, start);
    let mut expected = Vec::new();
    loop {
        let (before, count) = (synth.clone(), expected.len());
        let ts = match rng.below(16) {
            0 => synth.now,
            1 => synth.now + DELTA_END - 1,
            _ => synth.now + rng.below(100_000),
        };
        match rng.below(12) {
            0..=5 => {
                let words = 1 + rng.index(28);
                let payload = rng.bytes(words * 4);
                synth.short(ts, &payload);
                expected.push((ts, payload));
            }
            6 => {
                let words = rng.index(64);
                let payload = rng.bytes(words * 4);
                synth.long(ts, &payload);
                expected.push((ts, payload));
            }
            7 => {
                let payload: [u8; 8] = rng.bytes(8).try_into().unwrap();
                synth.grown(ts, payload);
                expected.push((ts, [&payload[..], &[0xdd; 4]].concat()));
            }
            8 => drop(synth.extend(synth.now + rng.below(1 << 40))),
            9 => drop(synth.absolute(synth.now + rng.below(1 << 40))),
            // A real delta of 1 cannot be told from a 0; no clock ticks that fast between two records.
            10 if ts != synth.now + 1 => drop(synth.discarded(ts, 4 + 4 * rng.index(20))),
            _ => drop(synth.grown_to_extend(synth.now + rng.below(1 << 40))),
        }
        if synth.at() + synth.header_size() > size {
            // The one that did not fit is not there: the writer went on in the next sub-buffer.
            expected.truncate(count);
            synth = before;
            break;
        }
    }
    if rng.below(2) == 0 && synth.room() >= 8 {
        let rest = rng.bytes(synth.room() - 4);
        synth.end(&rest);
    }
    let lost = match rng.below(4) {
        0 => Lost::Flag,
        1 if synth.room() >= 8 => Lost::Stored(1 + rng.below(1 << 31)),
        _ => Lost::Nothing,
    };
    synth.lost(lost);
    (synth, expected, lost)
}

#[test]
fn random_pages_decode_to_what_was_put_in() {
    for seed in 0..400 {
        let (synth, expected, lost) = random_page(&mut Rng::new(seed));
        let bytes = synth.build();
        let layout = layout(&synth);
        assert_eq!(decode(&bytes, &layout), (expected, None), "seed {seed}");
        let missed = match lost {
            Lost::Nothing => Missed::None,
            Lost::Stored(count) => Missed::Count(count),
            Lost::Flag => Missed::Unknown,
        };
        assert_eq!(Page::parse(&bytes, &layout).unwrap().missed(), missed, "seed {seed}");
    }
}

#[test]
fn damaged_pages_never_panic_and_never_give_bytes_from_outside_their_data() {
    let (mut pages, mut errors, mut payloads) = (0, 0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(1_000 + seed);
        let (synth, ..) = random_page(&mut rng);
        let layout = layout(&synth);
        let mut bytes = synth.build();
        for _ in 0..40 {
            let len = bytes.len();
            // Into the header, into what were record headers and length words, and anywhere.
            let (at, kind) = match rng.below(8) {
                0 => (rng.index(len + 1), 0),
                1 => (rng.index(16), 1),
                2 => (rng.index(len + 1) / 4 * 4, 2),
                _ => (rng.index(len + 1), 3),
            };
            match (kind, bytes.get_mut(at)) {
                (0, _) => bytes.truncate(at),
                (1, Some(byte)) => *byte = rng.u64() as u8,
                (2, Some(byte)) => *byte = rng.pick(&[0, 1, 29, 30, 31, 0xff]),
                (_, Some(byte)) => *byte ^= 1 << rng.below(8),
                (_, None) => {}
            }
            let Ok(page) = Page::parse(&bytes, &layout) else {
                errors += 1;
                continue;
            };
            pages += 1;
            let inside = page.data().as_ptr_range();
            let from = usize::from(layout.data_offset);
            assert!(inside.start == bytes[from..].as_ptr() && page.len() <= layout.data_size as usize, "seed {seed}");
            let mut all = page.records();
            let mut before = all.offset();
            while let Some(record) = all.next() {
                let Ok(record) = record else {
                    errors += 1;
                    assert!(all.next().is_none());
                    break;
                };
                let payload = record.data.as_ptr_range();
                assert!(inside.start <= payload.start && payload.end <= inside.end, "seed {seed}");
                assert!(all.offset() > before, "seed {seed}: no way made");
                before = all.offset();
                payloads += 1;
            }
        }
    }
    // The mutations are of use only while they leave enough to read and break enough.
    assert!(pages > 2_000 && errors > 2_000 && payloads > 10_000, "{pages} {errors} {payloads}");
}
