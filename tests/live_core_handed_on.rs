// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: dumps of processes outside containers, through us and by the kernel alone: the same words, files and rights.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cores::{Cores, Sysctl};
use live::{entries, wait_for, Cc, Live, Out};

/// Words that run the shell that follows them at fixed addresses, so that two dumps of it are of one size.
const FIXED: &str = "setarch -R busybox sh -c";
/// What such a shell does to die.
const DIE: &str = "kill -SEGV $$";

/// A program that dies behind `setuid`, which a set-uid program does at the latest.
const SET_UID: &str = "#define _GNU_SOURCE\n#include <unistd.h>\n#include <signal.h>\n#include <stdlib.h>\n\
    int main(int n, char **w) { if (n > 1) setresuid(atoi(w[1]), atoi(w[1]), 0); raise(SIGSEGV); }\n";

/// A file as it is seen from outside: where, whose, its rights, its size, and of a dump its headers.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    owner: (u32, u32),
    rights: u32,
    size: u64,
    headers: Vec<u8>,
    links: u64,
}

/// The program headers of an ELF file of 64 bits and the kinds and sizes of its notes; nothing of others.
fn headers(path: &Path) -> Vec<u8> {
    let Ok(bytes) = fs::read(path) else { return Vec::new() };
    if bytes.len() < 64 || !bytes.starts_with(b"\x7fELF\x02") {
        return Vec::new();
    }
    let number = |at: usize, count: usize| {
        bytes[at..at + count].iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, count) = (number(32, 8), number(56, 2));
    let mut found = bytes[table..table + 56 * count].to_vec();
    let (mut at, end) = (number(table + 8, 8), number(table + 8, 8) + number(table + 32, 8));
    while at < end {
        found.extend_from_slice(&bytes[at..at + 12]);
        at += 12 + number(at, 4).next_multiple_of(4) + number(at + 4, 4).next_multiple_of(4);
    }
    found
}

/// What lies in a directory, by its names, in which `pid` is replaced.
fn seen(dir: &Path, pid: u32) -> BTreeMap<String, Seen> {
    let see = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().replace(&pid.to_string(), "PID");
        let file = fs::symlink_metadata(&path).unwrap();
        let (owner, size) = ((file.uid(), file.gid()), if file.is_file() { file.size() } else { 0 });
        (name, Seen { owner, rights: file.mode(), size, headers: headers(&path), links: file.nlink() })
    };
    entries(dir).into_iter().map(see).collect()
}

/// A directory that dumps are written to, anew for each crash, and the machine's settings by which they are.
struct Case<'a> {
    live: &'a Live,
    pattern: String,
    /// core_uses_pid, suid_dumpable.
    modes: [&'static str; 2],
    /// Makes what is to be there before.
    before: &'a dyn Fn(&Path),
    /// Words that lead to a process that dies, in the directory. What stands at their end alone is one word.
    words: Vec<String>,
}

impl<'a> Case<'a> {
    fn new(live: &'a Live, pattern: &str, words: &str, script: &str) -> Case<'a> {
        let mut all: Vec<String> = words.split_ascii_whitespace().map(str::to_owned).collect();
        all.push(script.to_owned());
        Case { live, pattern: pattern.to_owned(), modes: ["0", "0"], before: &|_| {}, words: all }
    }

    /// One crash: what lies in the directory then, and what the words wrote.
    fn crash(&self, pattern: Option<&str>) -> (BTreeMap<String, Seen>, String) {
        let dir = self.live.path("dumps");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        (self.before)(&dir);
        let _modes = Sysctl::set(&[("kernel/core_uses_pid", self.modes[0]), ("fs/suid_dumpable", self.modes[1])]);
        let _kernel = pattern.map(|pattern| Sysctl::set(&[("kernel/core_pattern", pattern)]));
        let mut command = self.live.command(&self.words[0]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(&self.words[1..]).current_dir(&dir);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.signal().is_some() || out.status.success(), "{:?}: {:?}", self.words, out.status);
        (seen(&dir, pid), String::from_utf8(out.stdout).unwrap())
    }

    /// The same crash by the kernel alone, and through us: gives what lies there, which is the same.
    #[track_caller]
    fn same(&self) -> (BTreeMap<String, Seen>, String) {
        let alone = self.crash(Some(&self.pattern));
        let cores = Cores::install(self.live, &self.pattern, &[]);
        let through = self.crash(None);
        assert_eq!(through, alone, "{} {:?}: through us (left), by the kernel (right)", self.pattern, self.words);
        assert!(cores.dumps().is_empty());
        alone
    }
}

/// A corner whose directory others may pass, as theirs are.
fn corner(test: &str, needs: &[live::Need]) -> Option<Live> {
    let live = Live::alone(test, needs)?;
    fs::set_permissions(live.path(""), Permissions::from_mode(0o711)).unwrap();
    Some(live)
}

#[test]
fn a_file_is_where_the_kernel_puts_it_with_the_same_owner_rights_size_and_headers() {
    let test = "a_file_is_where_the_kernel_puts_it_with_the_same_owner_rights_size_and_headers";
    let Some(live) = corner(test, &[]) else { return };
    let limits = format!("prlimit --core=unlimited {FIXED}");
    let (files, _) = Case::new(&live, "core", &limits, DIE).same();
    assert!(files["core"].headers.len() > 56 * 4, "{files:?}");
    // A name for every letter, and a thread whose name is a path's.
    let letters = "%%.%p.%P.%i.%I.%u.%g.%d.%s.%h.%e.%f.%E.%c.%F.%z.%";
    let script = format!("printf '../x y' >/proc/$$/comm; {DIE}");
    let (files, _) = Case::new(&live, letters, &limits, &script).same();
    let busybox = fs::canonicalize(live::which("busybox").unwrap()).unwrap().to_str().unwrap().replace('/', "!");
    let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let wanted =
        format!("%.PID.PID.PID.PID.0.0.1.11.{}...!x y.busybox.{busybox}.18446744073709551615...", node.trim_end());
    assert_eq!(files.keys().collect::<Vec<_>>(), [&wanted]);
    // What is there by that name goes, whoever else has it.
    let before = |dir: &Path| {
        fs::write(dir.join("other"), "the same file").unwrap();
        fs::hard_link(dir.join("other"), dir.join("core.PID")).unwrap();
        fs::hard_link(dir.join("other"), dir.join("core")).unwrap();
    };
    let (files, _) = Case { before: &before, ..Case::new(&live, "core", &limits, DIE) }.same();
    assert_eq!((files["other"].links, files["core"].links), (2, 1));
    let link = |dir: &Path| std::os::unix::fs::symlink(dir.join("target"), dir.join("core")).unwrap();
    let (files, _) = Case { before: &link, ..Case::new(&live, "core", &limits, DIE) }.same();
    assert_eq!((files.len(), files["core"].rights), (1, 0o100_600), "a link is not followed");
    // core_uses_pid, and with a pid in the pattern already.
    for (pattern, name) in [("core", "core.PID"), ("core%P", "corePID.PID"), ("%p", "PID")] {
        let (files, _) = Case { modes: ["1", "0"], ..Case::new(&live, pattern, &limits, DIE) }.same();
        assert_eq!(files.keys().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn limits_and_rights_of_the_process_hold_as_the_kernel_has_them() {
    let Some(live) = corner("limits_and_rights_of_the_process_hold_as_the_kernel_has_them", &[Cc]) else { return };
    // No limit, none at all, too small for the kernel to begin, and a part.
    for (limit, count) in [("0", 0), ("4095", 0), ("100000000", 1)] {
        let (files, _) = Case::new(&live, "core", &format!("prlimit --core={limit} {FIXED}"), DIE).same();
        assert_eq!(files.len(), count, "{limit}");
    }
    let case = Case::new(&live, "core", &format!("prlimit --core=65536 {FIXED}"), DIE);
    let alone = case.crash(Some("core")).0["core"].size;
    let cores = Cores::install(&live, "core", &[]);
    let through = case.crash(None).0["core"].size;
    // Pages of zeros that the process had written to count for the kernel, which we can not tell from the others.
    assert!(alone >= 16384 && through >= alone && through - alone <= 65536, "{alone} {through}");
    drop(cores);
    // A user, where he may write and where he may not; his groups count, and his capabilities.
    let user = |more: &str| format!("setpriv --reuid 1234 --regid 1235 {more} prlimit --core=unlimited {FIXED}");
    let (files, _) = Case::new(&live, "core", &user("--clear-groups"), DIE).same();
    assert_eq!((files["core"].owner, files["core"].rights), ((1234, 1235), 0o100_600));
    let of_group = |dir: &Path| {
        chown(dir, None, Some(4321)).unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o770)).unwrap();
    };
    let absolute = format!("{}/core", live.path("dumps").display());
    for (more, count) in [
        ("--groups 4321", 1),
        ("--clear-groups", 0),
        ("--clear-groups --inh-caps +dac_override --ambient-caps +dac_override", 1),
    ] {
        let (files, _) = Case { before: &of_group, ..Case::new(&live, &absolute, &user(more), DIE) }.same();
        assert_eq!(files.len(), count, "{more}");
    }
    // A mask that leaves the owner nothing: the kernel makes the file and does not write.
    let script = format!("umask 0700; {DIE}");
    let (files, _) = Case::new(&live, "core", &format!("prlimit --core=unlimited {FIXED}"), &script).same();
    assert_eq!((files["core"].rights, files["core"].size), (0o100_000, 0));
    // Set-uid programs: nothing, or root's alone where the pattern is absolute and nobody has that name.
    let source = live.path("setuid.c");
    fs::write(&source, SET_UID).unwrap();
    let program = live.path("setuid");
    let built = live.command("cc").args(["-static", "-o"]).arg(&program).arg(&source).status().unwrap();
    assert!(built.success());
    let words = format!("prlimit --core=unlimited setarch -R {}", program.display());
    let there = |dir: &Path| fs::write(dir.join("core"), "root's").unwrap();
    for (mode, pattern, is_there, wanted) in [
        ("0", &*absolute, false, None),
        ("2", &*absolute, false, Some((0, 0o100_600))),
        ("2", &*absolute, true, Some((0, 0o100_644))),
        ("2", "core", false, None),
        ("1", "core", false, Some((1234, 0o100_600))),
    ] {
        let mut case = Case { modes: ["0", mode], ..Case::new(&live, pattern, &words, "1234") };
        if is_there {
            case.before = &there;
        }
        let (files, _) = case.same();
        let found = files.get("core").map(|file| (file.owner.0, file.rights));
        assert_eq!(found, wanted, "{mode} {pattern} {is_there}");
    }
    // What the kernel says by its pidfd (6.16 and later) counts more than the words: here they have 1 for %d.
    if Path::new("/proc/sys/kernel/core_modes").exists() {
        let case = Case { modes: ["0", "2"], ..Case::new(&live, &absolute, &words, "1234") };
        let _cores = Cores::install(&live, &absolute, &[]);
        let script = fs::read_to_string(live.path("fa")).unwrap();
        let forged = "\"$1\" \"$2\" \"$3\" \"$4\" \"$5\" \"$6\" \"$7\" \"$8\" 1 \"${10}\" \"${11}\" \"${12}\"";
        fs::write(live.path("fa"), script.replace("\"$@\"", forged)).unwrap();
        let owner = case.crash(None).0["core"].owner.0;
        assert_eq!(owner, 0, "the user would have it by the words alone");
    }
}

#[test]
fn namespaces_without_a_container_have_their_files_where_the_kernel_puts_them() {
    let test = "namespaces_without_a_container_have_their_files_where_the_kernel_puts_them";
    let Some(live) = corner(test, &[]) else { return };
    let dumps = live.path("dumps");
    let crash = format!("prlimit --core=unlimited {FIXED} '{DIE}'");
    // A file system that only they see, in the working directory and by an absolute path.
    for pattern in ["core", &format!("{}/core.%h", dumps.display())] {
        let script = format!(
            "hostname inner; mount -t tmpfs none . && cd {} && {crash}; stat -c '%n %u %g %a' core*; true",
            dumps.display()
        );
        let (files, told) = Case::new(&live, pattern, "unshare -m -u sh -c", &script).same();
        assert!(files.is_empty(), "{files:?}");
        assert_eq!(told, if pattern == "core" { "core 0 0 600\n" } else { "core.inner 0 0 600\n" });
    }
    // A root of its own, from which the path of the program is told.
    let before = |dir: &Path| {
        fs::create_dir_all(dir.join("root/dir")).unwrap();
        fs::copy(live::which("busybox").unwrap(), dir.join("root/busybox")).unwrap();
    };
    let words = "prlimit --core=unlimited setarch -R chroot root /busybox sh -c";
    let script = format!("cd dir; {DIE}");
    for (pattern, place) in [("/core.%E", "root"), ("core.%E", "root/dir")] {
        let case = Case { before: &before, ..Case::new(&live, pattern, words, &script) };
        let of = |pattern| {
            case.crash(pattern);
            seen(&dumps.join(place), 0)
        };
        let alone = of(Some(pattern));
        let _cores = Cores::install(&live, pattern, &[]);
        assert_eq!(of(None), alone);
        assert!(alone["core.!busybox"].size > 0, "{alone:?}");
    }
    // User and pid namespaces: the user is the machine's, the number the process's own.
    let words = "setpriv --reuid 1234 --regid 1235 --clear-groups unshare -U -r -p -f sh -c";
    let (files, _) = Case::new(&live, "core.%u.%p.%g", words, &format!("{crash}; true")).same();
    let (name, file) = files.first_key_value().unwrap();
    assert!(name.starts_with("core.1234.") && name.len() < 18, "{name}");
    assert_eq!(file.owner, (1234, 1235));
}

/// A handler that writes down what it was given.
fn recorder(live: &Live) -> PathBuf {
    let (program, out) = (live.path("recorder"), live.path("given"));
    let script = format!(
        "#!/bin/sh\ncd {0}\nfor word; do printf '%s\\n' \"$word\"; done >words\nls /proc/$$/fd >fds\n\
         grep -E '^(Sig(Blk|Ign)|Cap|Uid|Groups|Umask|NoNewPrivs|Seccomp)' /proc/self/status >status\n\
         ls -l /proc/$$/ns | sed 's/.* //' >namespaces\nreadlink /proc/$PPID/exe >parent\n\
         tr '\\0' '\\n' </proc/$$/environ >environ\ncat /proc/$$/limits >limits\ncat >core\n: >done\n",
        out.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn a_program_gets_the_words_and_the_dump_that_the_kernel_gives_it() {
    let test = "a_program_gets_the_words_and_the_dump_that_the_kernel_gives_it";
    let Some(live) = corner(test, &[]) else { return };
    let program = recorder(&live);
    let given = live.path("given");
    // With and without a pidfd; names with blanks are one word, and unknown letters leave an empty one.
    for letters in ["%P  %p %i %I %u %g %s %h %e %f %E %c %d %F %z x%", "%e"] {
        let pattern = format!("|{} {letters}", program.display());
        let script = format!("printf 'a ../b' >/proc/$$/comm; {DIE}");
        let crash = |pattern: Option<&str>| {
            let _ = fs::remove_dir_all(&given);
            fs::create_dir(&given).unwrap();
            // Its limit is none of the helper's.
            let case = Case::new(&live, "", &format!("prlimit --core=0 {FIXED}"), &script);
            let pid = {
                let _kernel = pattern.map(|pattern| Sysctl::set(&[("kernel/core_pattern", pattern)]));
                let mut command = live.command(&case.words[0]);
                let child = command.args(&case.words[1..]).stderr(Stdio::null()).spawn().unwrap();
                let pid = child.id();
                child.wait_with_output().unwrap();
                wait_for("the helper", || given.join("done").exists().then_some(()));
                pid
            };
            let read = |name: &str| fs::read_to_string(given.join(name)).unwrap();
            let text = |name: &str| read(name).replace(&pid.to_string(), "PID");
            // The test's stand-in for the installed program has an environment.
            let ours = ["FTRACE_ANALYZER_RUN_DIR", "PATH", "PWD", "OLDPWD", "_", "SHLVL"];
            let environ: Vec<String> = read("environ")
                .lines()
                .filter(|line| !ours.contains(&line.split('=').next().unwrap()))
                .map(str::to_owned)
                .collect();
            let size = fs::metadata(given.join("core")).unwrap().len();
            let all = ["words", "fds", "status", "namespaces", "limits"].map(text);
            (all, environ, size, headers(&given.join("core")))
        };
        let alone = crash(Some(&pattern));
        let _cores = Cores::install(&live, &pattern, &["--force"]);
        let through = crash(None);
        assert_eq!(through.0, alone.0, "{letters}: through us (left), by the kernel (right)");
        assert_eq!((&through.1, &through.2), (&alone.1, &alone.2), "{letters}");
        assert!(through.3 == alone.3 && alone.3.len() > 56 * 4);
        assert!(alone.0[0].contains("a ..!b\n"), "{}", alone.0[0]);
    }
}

#[test]
fn dumps_of_no_container_are_kept_where_a_socket_was() {
    let Some(live) = corner("dumps_of_no_container_are_kept_where_a_socket_was", &[]) else { return };
    let out = |out: Out| (out.code, out.stderr);
    let cores = Cores::install(&live, "@/run/ftrace-analyzer-test.socket", &["--max-total", "50M"]);
    let case = Case::new(&live, "", FIXED, DIE);
    assert!(case.crash(None).0.is_empty());
    let dump = cores.wait_for(1).remove(0);
    let name = dump.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("host-"), "{name}");
    assert!(!headers(&dump.join("core")).is_empty());
    let (code, _) = out(live.bin(&["core", "uninstall"]));
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert_eq!((code, &*pattern), (0, "@/run/ftrace-analyzer-test.socket\n"));
}
