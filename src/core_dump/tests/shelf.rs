// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which dumps stay, how much room they take, and what lies in the way of one.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use super::super::keeper::{list, CORE};
use super::super::settings::Settings;
use super::super::stream::{store, Cut, Stored};
use super::*;

const MIB: u64 = 1 << 20;

fn fresh(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("ftrace-analyzer-shelf-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    sys::make_dir(&dir).unwrap();
    dir
}

fn about(id: &str, second: u64, pid: i32) -> About {
    let mut about = About { time_ns: second * 1_000_000_000, pid, ..About::default() };
    about.container.id = id.to_owned();
    about
}

fn begin(base: &Path, about: &About) -> Option<Box<Place>> {
    match Shelf::open(base, about).unwrap().begin(about).unwrap() {
        Begun::Place(place) => Some(place),
        Begun::Counted => None,
    }
}

/// A file with so many bytes that are no zeros.
fn dump_of(bytes: u64) -> fs::File {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ftrace-analyzer-shelf-dump-{}-{next}", std::process::id()));
    let mut file = fs::File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file.write_all(&vec![7; bytes as usize]).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// Stores one as the handler does. `None` where it was only counted.
fn crash(base: &Path, settings: &Settings, mut about: About, bytes: u64) -> Option<Stored> {
    let mut place = begin(base, &about)?;
    let file = place.create(CORE).unwrap();
    let stored = store(&dump_of(bytes), &file, base, settings.max_dump, &mut || place.grow(settings)).unwrap();
    about.cut = if stored.cut == Some(Cut::Room) { place.full.to_owned() } else { String::new() };
    place.finish(&mut about, settings).unwrap();
    Some(stored)
}

/// Lets all dumps be so many seconds older.
fn wait(base: &Path, seconds: u64) {
    for dump in list(base).unwrap().0 {
        let file = fs::File::open(dump.dir.join(keeper::ABOUT)).unwrap();
        let then = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    }
}

/// What is left: container, second of its death, and how many it stands for.
fn left(base: &Path) -> Vec<(String, u64, u32)> {
    let (dumps, wrong) = list(base).unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    let about =
        |dump: keeper::Dump| (dump.about.container.id.clone(), dump.about.time_ns / 1_000_000_000, dump.about.not_kept);
    dumps.into_iter().map(about).collect()
}

/// Bytes on disk below a directory.
fn disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(file) if file.is_dir() => disk(&entry.path()),
            Ok(file) => file.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn a_crash_loop_keeps_its_first_and_its_newest_dump_and_counts_the_rest() {
    let base = fresh("loop");
    for second in 0..20 {
        crash(&base, &Settings::default(), about("a", 1000 + second, second as i32), 10);
        if second == 10 {
            crash(&base, &Settings::default(), about("a-b", 1000 + second, 7), 10);
        }
        wait(&base, 1);
    }
    // Two, then one in the place of the second each time.
    assert_eq!(left(&base), [("a".into(), 1000, 0), ("a-b".into(), 1010, 0), ("a".into(), 1019, 18)]);
    // Much later it is none of the loop's.
    wait(&base, 8000);
    crash(&base, &Settings::default(), about("a", 9000, 1), 10);
    assert_eq!(left(&base).len(), 4);
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn large_dumps_of_a_crash_loop_are_stored_every_ten_seconds_and_counted_between() {
    let base = fresh("rate");
    let settings = Settings::default();
    assert!(crash(&base, &settings, about("a", 1, 1), 10).is_some());
    wait(&base, 5);
    assert!(crash(&base, &settings, about("a", 2, 2), 17 * MIB).is_some());
    for second in 0..3 {
        assert!(crash(&base, &settings, about("a", 3 + second, 3), 10).is_none());
        assert!(crash(&base, &settings, about("b", 3 + second, 3), 10).is_some(), "another container");
        wait(&base, 2);
    }
    let more: Vec<u32> = list(&base).unwrap().0.iter().map(|dump| dump.about.more).collect();
    assert_eq!(more, [0, 3, 0, 0]);
    wait(&base, 5);
    assert!(crash(&base, &settings, about("a", 20, 4), 10).is_some());
    // The one of 17 MiB and the three behind it.
    assert_eq!(left(&base).last().unwrap(), &("a".into(), 20, 4));
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn limits_of_one_container_and_of_all_take_older_dumps_before_the_new_one_is_stored() {
    let base = fresh("limits");
    let settings =
        Settings { keep: 3, max_container: 4 * MIB, max_total: 6 * MIB, max_age_s: 100_000, ..Settings::default() };
    let times = |base: &Path| left(base).into_iter().map(|(id, time, _)| (id, time)).collect::<Vec<_>>();
    let crash = |id: &str, second: u64, bytes: u64| {
        let stored = crash(&base, &settings, about(id, second, 1), bytes).unwrap();
        assert_eq!((stored.written, stored.cut), (bytes, None));
        wait(&base, 100);
    };
    for round in 0..6 {
        crash("a", 1000 + round, MIB / 2);
    }
    assert_eq!(
        times(&base),
        [("a".into(), 1000), ("a".into(), 1004), ("a".into(), 1005)],
        "the first one and the newest"
    );
    crash("a", 1600, 3 * MIB);
    assert_eq!(times(&base), [("a".into(), 1000), ("a".into(), 1600)], "4 MiB and more are over 4");
    crash("b", 1700, 2 * MIB);
    assert_eq!(times(&base).len(), 3);
    crash("c", 1800, MIB / 2);
    assert_eq!(times(&base), [("a".into(), 1600), ("b".into(), 1700), ("c".into(), 1800)], "of who has the most");
    wait(&base, 100_000);
    crash("d", 900_000, 10);
    assert_eq!(times(&base), [("d".into(), 900_000)], "too old");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_dump_that_no_room_can_be_made_for_is_cut() {
    let base = fresh("cut");
    let settings = Settings { max_total: 2 * MIB, ..Settings::default() };
    let stored = crash(&base, &settings, about("a", 1, 1), 5 * MIB).unwrap();
    assert_eq!(stored.cut, Some(Cut::Room));
    assert!((MIB..2 * MIB).contains(&stored.written), "{stored:?}");
    assert_eq!(list(&base).unwrap().0[0].about.cut, "the limit of all dumps");
    assert!(disk(&base) <= 2 * MIB);
    let settings = Settings { keep_free: u64::MAX, ..Settings::default() };
    let stored = crash(&base, &settings, about("b", 2, 1), MIB).unwrap();
    assert_eq!((stored.written, stored.cut), (0, Some(Cut::Room)));
    assert_eq!(left(&base), [("b".into(), 2, 0)], "older ones went for it");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn handlers_at_once_never_take_more_than_the_limit_of_all() {
    let base = fresh("at-once");
    let settings = Settings { max_total: 12 * MIB, ..Settings::default() };
    let (mut most, mut whole) = (0, 0);
    std::thread::scope(|scope| {
        let store = |at: i32| {
            let (base, settings) = (&base, &settings);
            move || crash(base, settings, about(&format!("c{at}"), 1, at), 3 * MIB).unwrap()
        };
        let handlers: Vec<_> = (0..12).map(|at| scope.spawn(store(at))).collect();
        while !handlers.iter().all(|handler| handler.is_finished()) {
            // While nothing changes its name.
            let Ok(counting) = fs::File::open(base.join(CORES).join(".counting0-0")) else { continue };
            sys::lock_in_turn(&counting).unwrap();
            most = most.max(disk(&base));
        }
        whole = handlers.into_iter().map(|it| it.join().unwrap()).filter(|it| it.cut.is_none()).count();
    });
    assert!((6 * MIB..=12 * MIB).contains(&most), "{most}");
    assert!(whole > 0);
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn what_a_killed_handler_left_goes_and_what_is_being_stored_stays() {
    let base = fresh("sweep");
    let killed = begin(&base, &about("a", 2, 2)).unwrap();
    killed.create(CORE).unwrap();
    drop(killed);
    let begun = begin(&base, &about("a", 1, 1)).unwrap();
    let names = || {
        let mut names: Vec<String> = fs::read_dir(base.join(CORES))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".a-"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), [".a-19700101T000001-1"]);
    assert!(begin(&base, &about("b", 3, 3)).is_some());
    assert_eq!(names().len(), 1, "its handler lives");
    assert!(left(&base).is_empty());
    begun.give_up();
    assert!(names().is_empty());
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn two_dumps_of_one_process_number_in_a_second_are_two() {
    let base = fresh("again");
    for _ in 0..2 {
        crash(&base, &Settings::default(), about("a", 1, 1), 10);
    }
    let names: Vec<String> = list(&base).unwrap().0.iter().map(|dump| sys::last_part(&dump.dir)).collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| name.starts_with("a-19700101T000001-1")), "{names:?}");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn names_of_containers_lead_nowhere_else() {
    let base = fresh("names");
    for (second, id) in ["../../etc", "..", ".", "/etc", "a/b", "a\nb", "-x", &"x".repeat(300)].iter().enumerate() {
        wait(&base, 1000);
        crash(&base, &Settings::default(), about(id, second as u64, 1), 10);
    }
    let dumps = list(&base).unwrap().0;
    assert_eq!(dumps.len(), 8);
    for dump in dumps {
        assert_eq!(dump.dir.parent(), Some(&*base.join(CORES)));
        assert!(sys::last_part(&dump.dir).starts_with("unknown-1970"));
        assert_eq!(fs::metadata(&dump.dir).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(dump.dir.join(CORE)).unwrap().mode() & 0o7777, 0o600);
    }
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_directory_of_dumps_that_is_a_link_or_others_to_write_is_refused() {
    let (base, elsewhere) = (fresh("link"), fresh("elsewhere"));
    symlink(&elsewhere, base.join(CORES)).unwrap();
    assert!(Shelf::open(&base, &about("a", 1, 1)).is_err());
    fs::remove_file(base.join(CORES)).unwrap();
    fs::create_dir(base.join(CORES)).unwrap();
    fs::set_permissions(base.join(CORES), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(Shelf::open(&base, &about("a", 1, 1)).is_err());
    fs::set_permissions(base.join(CORES), PermissionsExt::from_mode(0o700)).unwrap();
    assert!(Shelf::open(&base, &about("a", 1, 1)).is_ok());
    // Something of the name that a dump will have: it stays what it is, and the dump gets another one.
    for taken in [".a-19700101T000001-1", "a-19700101T000001-1.again"] {
        symlink(&elsewhere, base.join(CORES).join(taken)).unwrap();
    }
    crash(&base, &Settings::default(), about("a", 1, 1), 10);
    assert!(base.join(CORES).join("a-19700101T000001-1.again.again/core").is_file());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_dir_all(base).unwrap();
    fs::remove_dir_all(elsewhere).unwrap();
}

#[test]
fn stored_is_what_the_clock_says() {
    let base = fresh("clock");
    crash(&base, &Settings::default(), about("a", 1, 1), 10);
    let shelf = Shelf::open(&base, &about("a", 1, 1)).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let stored = shelf.entries().unwrap()[0].stored;
    assert!(now - stored < 10_000_000_000, "{stored}");
    fs::remove_dir_all(base).unwrap();
}
