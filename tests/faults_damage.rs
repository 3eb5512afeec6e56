// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever became of a recording's files, `report` in every format and `list` end by themselves, say what is wrong and
//! where, and decode what is whole. And whoever reads their output may go when he likes.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{symlink, FileExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ftrace_analyzer::recording::EndState;

#[path = "common/faults.rs"]
mod faults;
#[path = "support/synthetic.rs"]
mod synthetic;
use faults::{finish, number_after, Case, Said};
use synthetic::{meta, Synthetic};

const PATIENCE: Duration = Duration::from_secs(20);
const PAGE: u64 = 4096;
const CALLS: u64 = 12_000;

/// A case with one recording of some segments on CPU 0 and one on CPU 1.
fn recorded(test: &str, state: EndState) -> (Case, PathBuf) {
    let case = Case::new(test);
    let mut meta = meta(2);
    meta.options.max_size = 4 << 20;
    let mut log = Synthetic::new(&case.dir, meta);
    for at in 0..CALLS {
        let cpu = usize::from(at % 20 == 0);
        log.call(cpu, 100 + cpu as i32, 39, &[], 1, 100).after(1);
    }
    let dir = log.finish(state, "the traced tasks ended").dir;
    (case, dir)
}

fn segment(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("cpu0.{index:06}.pages"))
}

/// The report in every format and the list; none may panic or hang. Gives the text report.
fn read_all(case: &Case, codes: &[i32]) -> Said {
    let mut text = None;
    let dir = fs::read_dir(&case.dir).unwrap().next().unwrap().unwrap().path();
    let dir = dir.to_str().unwrap();
    for format in [&["text"][..], &["summary"], &["json"], &["summary", "--json"]] {
        let said = finish(case.tool(&[&["report", dir, "--format"], format].concat()), b"", PATIENCE);
        let code = said.code.unwrap_or(-1);
        assert!(codes.contains(&code), "{format:?}: {code}, {}", said.err);
        assert_eq!(code == 1 || code == 3, !said.err.is_empty(), "an error is told, and nothing else is: {}", said.err);
        if format == ["text"] {
            text = Some(said);
        }
    }
    let list = finish(case.tool(&["list"]), b"", PATIENCE);
    assert!(matches!(list.code, Some(0 | 1)), "{list:?}");
    text.unwrap()
}

fn decoded(text: &str) -> u64 {
    let line = text.lines().rev().find(|line| line.contains("decoded, ")).unwrap();
    number_after(line, "# ")
}

#[test]
fn a_whole_recording_is_the_measure_of_the_others() {
    let (case, dir) = recorded("whole", EndState::Complete);
    let said = read_all(&case, &[0]);
    assert_eq!(decoded(&said.text()), 2 * CALLS);
    assert!(segment(&dir, 3).exists(), "the tests need several segments");
}

#[test]
fn files_cut_anywhere_read_back_to_the_cut() {
    let (case, dir) = recorded("cut", EndState::Complete);
    let path = (0..).map(|index| segment(&dir, index)).take_while(|path| path.exists()).last().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut fewer = u64::MAX;
    let pages = whole.len() as u64 / PAGE;
    for cut in
        [pages * PAGE - 3000, (pages - 1) * PAGE + 20, (pages - 1) * PAGE + 7, (pages - 2) * PAGE + 1000, PAGE, 1, 0]
    {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let text = read_all(&case, &[4]).text();
        let now = decoded(&text);
        assert!(now <= fewer && now > CALLS, "{now} after {fewer}, cut at {cut}");
        assert_eq!(number_after(&text, "decoded, 0 lost, ") + now, 2 * CALLS, "cut at {cut}");
        if cut % PAGE != 0 {
            let name = path.file_name().unwrap().to_str().unwrap();
            let at = cut / PAGE * PAGE;
            let place = text.lines().find(|line| line.contains("*** damaged") && line.contains(name)).unwrap();
            let offset = number_after(place, "at byte ");
            assert!((at..at + PAGE).contains(&offset), "{place}");
        }
        fewer = now;
    }
}

#[test]
fn zeroes_holes_and_noise_are_told_with_their_place_and_cost_their_page_alone() {
    let (case, dir) = recorded("noise", EndState::Complete);
    let path = segment(&dir, 1);
    let whole = fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for (at, bytes, word) in [
        (5 * PAGE, vec![0; 4096], "zeroes instead of a sub-buffer"),
        (5 * PAGE, vec![0; 3 * 4096], "zeroes instead of a sub-buffer"),
        (9 * PAGE, vec![0xff; 4096], "damaged data"),
        (9 * PAGE + 8, vec![0xff; 2], "damaged data"),
        (9 * PAGE + 16, vec![0; 100], "damaged data"),
        (9 * PAGE + 500, vec![0xaa; 3], "damaged data"),
    ] {
        file.write_all_at(&bytes, at).unwrap();
        let said = read_all(&case, if bytes.len() > 3 { &[4] } else { &[0, 4] });
        let text = said.text();
        let lost = 2 * CALLS - decoded(&text);
        assert!(lost <= 90 * bytes.len().div_ceil(4096) as u64, "{lost} lost by {} bytes at {at}", bytes.len());
        // Three bytes within a record may stay a record; the balance holds either way.
        if bytes.len() > 3 {
            assert!(
                text.contains(word) && text.contains("cpu0.000001.pages"),
                "{word} at {at}: {}",
                text.lines().filter(|l| !l.starts_with("[pid")).collect::<String>()
            );
            assert_eq!(text.matches("*** damaged").count(), 1, "a run of zeroes is told once");
        }
        file.write_all_at(&whole, 0).unwrap();
    }
    // A terabyte of nothing, with something behind it.
    file.set_len(5 * PAGE).unwrap();
    file.write_all_at(&whole[5 * 4096..], 1 << 40).unwrap();
    let said = read_all(&case, &[4]).text();
    assert_eq!(said.matches("zeroes instead of a sub-buffer").count(), 1);
    assert_eq!(decoded(&said), 2 * CALLS, "what is behind the hole decodes");
    file.set_len(1 << 42).unwrap();
    assert_eq!(read_all(&case, &[4]).text().matches("zeroes instead of a sub-buffer").count(), 2);
    // The file system knew the size, and had no time for the contents.
    file.set_len(PAGE).unwrap();
    file.set_len(whole.len() as u64).unwrap();
    let text = read_all(&case, &[4]).text();
    assert!(text.contains("at byte 4096 of") && text.contains("zeroes"), "{text}");
}

#[test]
fn a_missing_file_is_told_also_when_the_kernels_count_is_not_known() {
    for state in [EndState::Complete, EndState::Running] {
        let (case, dir) = recorded("missing", state);
        fs::remove_file(segment(&dir, 1)).unwrap();
        let text = read_all(&case, &[4]).text();
        assert!(text.contains("cpu0.000001.pages: the file is missing"), "{state:?}");
        assert!(decoded(&text) > CALLS && decoded(&text) < 2 * CALLS);
        // The lowest ones may have been removed by the limits.
        fs::remove_file(segment(&dir, 0)).unwrap();
        assert!(!read_all(&case, &[4]).text().contains("missing"));
    }
}

#[test]
fn without_a_usable_description_the_recording_is_named() {
    let (case, dir) = recorded("meta", EndState::Complete);
    let path = dir.join("meta.json");
    let whole = fs::read_to_string(&path).unwrap();
    let deep = format!("{{\"format_version\":1,\"a\":{}", "[".repeat(1 << 20));
    for text in [
        String::new(),
        "garbage".into(),
        "\0".repeat(5000),
        whole[..whole.len() / 2].into(),
        "[]".into(),
        "{}".into(),
        whole.replace("\"data_size\":4080", "\"data_size\":4294967295"),
        whole.replace("\"commit_size\":8", "\"commit_size\":3"),
        whole.replacen("\"format_version\":1", "\"format_version\":-1", 1),
        deep,
    ] {
        fs::write(&path, &text).unwrap();
        let said = read_all(&case, &[1]);
        assert!(said.err.contains("meta.json"), "{} for {:.40?}", said.err, text);
        let list = finish(case.tool(&["list"]), b"", PATIENCE);
        assert!(list.code == Some(1) && list.err.contains("meta.json"), "{list:?} for {text:.40?}");
    }
    fs::write(&path, " ".repeat((4 << 20) + 1)).unwrap();
    assert!(read_all(&case, &[1]).err.contains("the limit is 4194304"));
    fs::write(&path, whole.replacen("\"format_version\":1", "\"format_version\":9", 1)).unwrap();
    assert!(read_all(&case, &[3]).err.contains("a reader for recording format 9"));
    fs::remove_file(&path).unwrap();
    assert!(read_all(&case, &[1]).err.contains("meta.json not found"));
    let list = finish(case.tool(&["list"]), b"", PATIENCE);
    assert!(list.code == Some(1) && list.err.contains("meta.json not found"), "{list:?}");
    // One recording that cannot be read does not hide the others.
    fs::write(&path, &whole).unwrap();
    fs::create_dir(case.dir.join("other")).unwrap();
    fs::write(case.dir.join("other/meta.json"), "x").unwrap();
    let list = finish(case.tool(&["list"]), b"", PATIENCE);
    assert!(list.text().contains("synthetic") && list.err.contains("other/meta.json") && list.code == Some(1));
}

#[test]
fn figures_no_kernel_gives_do_not_overflow() {
    let (case, dir) = recorded("figures", EndState::Complete);
    let path = dir.join("meta.json");
    let whole = fs::read_to_string(&path).unwrap();
    let huge = whole.replace("\"read\":", "\"overrun\":18446744073709551615,\"read\":1844674407370955161");
    assert_ne!(huge, whole);
    fs::write(&path, &huge).unwrap();
    read_all(&case, &[1, 4]);
    let early = whole.replace("\"trace_ns\":1000000000000", "\"trace_ns\":18446744073709551615");
    assert_ne!(early, whole);
    fs::write(&path, early).unwrap();
    read_all(&case, &[0, 1, 4]);
    fs::write(&path, whole.replace("\"cpus\":2", "\"cpus\":65535").replace("\"complete\"", "\"running\"")).unwrap();
    read_all(&case, &[4]);
}

#[test]
fn without_usable_formats_the_recording_is_named() {
    let (case, dir) = recorded("formats", EndState::Complete);
    let path = dir.join("formats");
    let whole = fs::read_to_string(&path).unwrap();
    for text in [String::new(), "garbage".into(), whole.replace("sys_enter", "other"), whole.replace("offset:", "o:")] {
        fs::write(&path, &text).unwrap();
        let said = read_all(&case, &[1]);
        assert!(said.err.contains("format"), "{}", said.err);
    }
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert!(read_all(&case, &[1]).err.contains("the limit is 1048576"));
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(read_all(&case, &[1]).err.contains("is no text"));
    fs::remove_file(&path).unwrap();
    assert!(read_all(&case, &[1]).err.contains("formats not found"));
}

#[test]
fn files_of_other_names_and_kinds_are_let_be() {
    let (case, dir) = recorded("names", EndState::Complete);
    let put = |name: &str| fs::write(dir.join(name), [0xff; 5000]).unwrap();
    for name in [
        "cpu0.99999.pages",
        "cpu.000000.pages",
        "cpu-1.000000.pages",
        "cpu0.000000.pages~",
        "x",
        "cpu70000.000000.pages",
    ] {
        put(name);
    }
    fs::create_dir(dir.join("cpu2.000000.pages")).unwrap();
    symlink("/dev/zero", dir.join("cpu3.000000.pages")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.join("cpu4.000000.pages")).status().unwrap().success());
    assert_eq!(decoded(&read_all(&case, &[0]).text()), 2 * CALLS);
    // Numbers at their ends, and CPUs that the machine did not have.
    put("cpu0.4294967295.pages");
    put("cpu65535.000000.pages");
    let text = read_all(&case, &[4]).text();
    assert!(
        text.contains("cpu65535.000000.pages: the page promises")
            && text.contains("cpu0.000005.pages: the file is missing"),
        "{}",
        text.lines().filter(|l| !l.starts_with("[pid")).collect::<String>()
    );
    for name in ["formats", "meta.json"] {
        fs::remove_file(dir.join(name)).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(dir.join(name)).status().unwrap().success());
        assert!(read_all(&case, &[1]).err.contains(&format!("{name} is not a file")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (case, dir) = recorded("pipe", EndState::Complete);
    let dir = dir.to_str().unwrap();
    for args in [
        &["report", dir][..],
        &["report", dir, "--format", "json"],
        &["report", dir, "--format", "summary"],
        &["list"],
        &["list", "--json"],
        &["--help"],
        &["report", "--help"],
        &["--version"],
        &["doctor"],
    ] {
        for lines in 0..2 {
            let mut command = case.tool(args);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            for _ in 0..lines {
                out.read_line(&mut String::new()).unwrap();
            }
            drop(out);
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            let code = child.wait().unwrap().code();
            assert!(code == Some(0) || (args == ["doctor"] && code == Some(3)), "{args:?} {lines}: {code:?} {err}");
            assert_eq!(err, "", "{args:?}");
        }
    }
}

#[test]
fn an_output_that_is_full_is_a_failure_that_is_told() {
    let (case, dir) = recorded("full", EndState::Complete);
    let dir = dir.to_str().unwrap();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["report", dir][..], &["report", dir, "--format", "summary"], &["list"], &["--help"]] {
        let output = case.tool(args).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && err.contains("No space left"), "{args:?}: {err}");
    }
    let output = case.tool(&["report", dir, "-o", "/dev/full"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
