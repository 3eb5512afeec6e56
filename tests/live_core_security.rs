// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what attacks on handlers of core dumps have been, and what a user may have of his dumps.
//!
//! Processes that were replaced (CVE-2020-15702, CVE-2025-4598, CVE-2025-5054), names that look like files of /proc
//! (CVE-2021-25682), set-uid programs (CVE-2022-4415), namespaces and roots that are not the machine's (CVE-2015-1318,
//! CVE-2017-14180), directories that somebody else has a hand in.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/dying.rs"]
mod dying;
#[path = "common/live.rs"]
mod live;

use std::fs;
use std::os::unix::fs::{chown, symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cores::{Cores, Sysctl};
use dying::{about, hog, script, wait_for_handlers, Group};
use live::{entries, run, wait_for, Cc, Live, Out, Runc, BIN};
use serde_json::{json, Value};

/// A user that nobody is.
const USER: u32 = 64_391;

/// The dumps below a directory of recordings.
fn dumps(dir: &Path) -> Vec<PathBuf> {
    let mut all = entries(&dir.join("cores"));
    all.retain(|path| path.is_dir() && !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    all
}

/// Has processes die in a control group of a container's, as `user` and by `words`, and runs `text` in the place of the handler
/// of each of `count`: with the kernel's words from the third on (signal, time, user, group, mode, limit, pidfd, CPU) as `$@`, the process's
/// number as `$P`, the kernel's pidfd as descriptor 3, and `handle`. What it does is done while the process dies. Gives what
/// was said.
#[track_caller]
fn at_deaths(live: &Live, group: &Group, count: usize, user: u32, words: &[&str], text: &str) -> String {
    let out = live.path("out");
    let _ = fs::remove_file(&out);
    let text = format!(
        "export FTRACE_ANALYZER_RUN_DIR={}\ncd {}\nexec >>out 2>&1\n\
         handle() {{ {BIN} core handle \"$@\" </dev/null; }}\n\
         P=$3; shift 4\n{text}\necho end",
        live.path("run").display(),
        live.path("").display(),
    );
    let program = script(live, "at-a-death", &text);
    let pattern = format!("|{} core handle %P %I %s %t %u %g %d %c %F %C", program.display());
    let _sysctl = Sysctl::set(&[("kernel/core_pattern", &pattern), ("kernel/core_pipe_limit", "16")]);
    group.run(user, words);
    wait_for("the end of the scripts", || {
        let text = fs::read_to_string(&out).ok()?;
        (text.matches("end\n").count() >= count).then_some(text)
    })
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn numbers_of_another_process_are_refused() {
    let test = "numbers_of_another_process_are_refused";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let _cores = Cores::install(&live, "core", &[]);
    let group = Group::docker();
    // Two that die at once, each asked for with the other one's pidfd: a process that was replaced by one that dies, too.
    let text = "echo $P >>pids; while [ $(wc -l <pids) -lt 2 ]; do sleep 0.02; done\n\
                OTHER=$(grep -v \"^$P$\" pids)\n\
                handle $OTHER $OTHER \"$@\"; echo other: $?\n\
                sleep 1000 & S=$!; handle $S $S \"$@\"; echo alive: $?; kill $S\n\
                sh -c exit & Z=$!; sleep 0.1; handle $Z $Z \"$@\"; echo zombie: $?\n\
                handle 1 1 \"$@\"; echo init: $?\n\
                handle 4194300 4194300 \"$@\"; echo none: $?\n\
                set -- \"$1\" \"$2\" \"$3\" \"$4\" \"$5\" \"$6\" '' 0; handle 1 1 \"$@\"; echo no pidfd: $?\n\
                touch done.$P; while [ ! -e done.$OTHER ]; do sleep 0.02; done";
    let out = at_deaths(&live, &group, 2, 0, &[word(hog()), "0", "0", "2"], text);
    for refused in ["other: 1", "alive: 1", "zombie: 1", "init: 1", "none: 1", "no pidfd: 1"] {
        assert_eq!(out.matches(refused).count(), 2, "{refused}\n{out}");
    }
    assert_eq!(dumps(&live.path("recordings")), Vec::<PathBuf>::new());
    // And the right one is not.
    let out = at_deaths(&live, &group, 1, 0, &[word(hog()), "0", "0"], "handle $P $P \"$@\"; echo right: $?");
    assert!(out.contains("right: 0"), "{out}");
    assert_eq!(dumps(&live.path("recordings")).len(), 1);
}

#[test]
fn a_user_has_the_dumps_of_his_own_namespaces_and_no_others() {
    let test = "a_user_has_the_dumps_of_his_own_namespaces_and_no_others";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let _cores = Cores::install(&live, "core", &[]);
    fs::set_permissions(live.path(""), PermissionsExt::from_mode(0o711)).unwrap();
    let own = live.path("recordings/users").join(USER.to_string());
    let group = Group::docker();
    let in_namespace = ["unshare", "-U", "-r", word(hog()), "0", "0"];
    if !run(group.command(USER, &["unshare", "-U", "true"]), b"").status.success() {
        return live::skip(test, "users may not make user namespaces here");
    }
    let of = |dir: &Path| dumps(dir).len();
    // In the machine's own namespace it is root's, whoever ran it.
    group.run(USER, &[word(hog()), "0", "0"]);
    wait_for_handlers(&live);
    assert_eq!((of(&live.path("recordings")), of(&own)), (1, 0));
    group.run(USER, &in_namespace);
    wait_for_handlers(&live);
    assert_eq!((of(&live.path("recordings")), of(&own)), (1, 1));
    let dump = &dumps(&own)[0];
    assert_eq!(about(dump)["owner"], USER);
    for path in entries(dump).iter().chain([dump, &own, &own.join("cores")]) {
        let file = path.symlink_metadata().unwrap();
        let rights = if file.is_dir() { 0o700 } else { 0o600 };
        assert_eq!((file.uid(), file.mode() & 0o7777), (USER, rights), "{}", path.display());
    }
    // The user lists it, another one can not.
    fs::copy(BIN, live.path("ftrace-analyzer")).unwrap();
    let list = |user: u32| -> Out {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"]);
        command.arg(live.path("ftrace-analyzer")).args(["core", "list", "--dir", word(&own)]);
        run(command, b"")
    };
    fs::set_permissions(live.path("recordings"), PermissionsExt::from_mode(0o711)).unwrap();
    assert!(list(USER).expect_code(0).stdout.contains("SIGSEGV"));
    assert!(!list(USER + 1).stdout.contains("SIGSEGV"));
    // A set-uid program's is root's alone, also there; and the kernel's word for that counts more than numbers.
    let out = at_deaths(
        &live,
        &group,
        1,
        USER,
        &in_namespace,
        "set -- \"$1\" \"$2\" \"$3\" \"$4\" 2 \"$6\" \"$7\" 0; handle $P $P \"$@\"; echo set-uid: $?",
    );
    assert!(out.contains("set-uid: 0"), "{out}");
    let all = dumps(&live.path("recordings"));
    assert_eq!((all.len(), of(&own)), (2, 1), "{out}");
    let of_root = all.iter().find(|dump| about(dump)["dumpable"] == 2).unwrap();
    assert_eq!((about(of_root)["owner"].clone(), fs::metadata(of_root).unwrap().uid()), (json!(0), 0));
}

#[test]
fn what_a_user_puts_into_his_directory_leads_nowhere() {
    let test = "what_a_user_puts_into_his_directory_leads_nowhere";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let _cores = Cores::install(&live, "core", &[]);
    fs::set_permissions(live.path(""), PermissionsExt::from_mode(0o711)).unwrap();
    let (own, others) = (live.path("recordings/users").join(USER.to_string()), live.path("others"));
    let cores = own.join("cores");
    let group = Group::docker();
    let in_namespace = ["unshare", "-U", "-r", word(hog()), "0", "0"];
    if !run(group.command(USER, &["unshare", "-U", "true"]), b"").status.success() {
        return live::skip(test, "users may not make user namespaces here");
    }
    let crash = || {
        group.run(USER, &in_namespace);
        wait_for_handlers(&live);
        fs::read_to_string(live.path("run/hook.log")).unwrap()
    };
    crash();
    assert_eq!(dumps(&own).len(), 1);
    let again = || {
        fs::remove_dir_all(&cores).or_else(|_| fs::remove_file(&cores)).unwrap();
    };
    // A link, to root's directory and to one that he may write to.
    fs::create_dir(&others).unwrap();
    for target in [&live.path("recordings/cores"), &others] {
        again();
        symlink(target, &cores).unwrap();
        let before = entries(target).len();
        crash();
        assert_eq!(entries(target).len(), before, "{}", target.display());
    }
    // A pipe, a file, somebody else's directory, one that all may write to.
    again();
    assert!(Command::new("mkfifo").arg(&cores).status().unwrap().success());
    crash();
    again();
    fs::write(&cores, "x").unwrap();
    crash();
    assert_eq!(fs::read_to_string(&cores).unwrap(), "x");
    again();
    fs::create_dir(&cores).unwrap();
    assert!(crash().contains("which others can write or own"));
    chown(&cores, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(&cores, PermissionsExt::from_mode(0o777)).unwrap();
    crash();
    assert_eq!(entries(&cores).len(), 0);
    // So many names that looking at them would take memory.
    fs::set_permissions(&cores, PermissionsExt::from_mode(0o700)).unwrap();
    for name in 0..2500 {
        fs::write(cores.join(name.to_string()), "").unwrap();
    }
    let log = crash();
    assert!(log.lines().last().unwrap().contains("cores"), "{log}");
    assert_eq!(entries(&cores).len(), 2500);
    // All is in his own users/UID: root's has nothing of it.
    assert_eq!(dumps(&live.path("recordings")).len(), 0);
    again();
    crash();
    assert_eq!(dumps(&own).len(), 1);
}

#[test]
fn names_of_processes_and_of_control_groups_are_nothing_but_names() {
    let test = "names_of_processes_and_of_control_groups_are_nothing_but_names";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    // As lines of /proc/PID/status, as the end of the name in /proc/PID/stat, as what moves a terminal.
    for (at, name) in ["x\nUid: 0", "a) R 1 1 (", "\u{1b}[31m", "%s/../../x"].into_iter().enumerate() {
        let group = Group::docker();
        group.run(USER, &[word(hog()), "0", "0", "1", name]);
        wait_for_handlers(&live);
        let known: Vec<Value> = cores.dumps().iter().map(|dump| about(dump)).collect();
        assert_eq!(known.len(), at + 1);
        let known = known.iter().find(|about| about["comm"] == name).unwrap();
        assert_eq!((known["user"].clone(), known["group"].clone()), (json!(USER), json!(USER)), "{known}");
        assert_eq!(known["capabilities"], "0000000000000000");
    }
    let log = fs::read_to_string(live.path("run/hook.log")).unwrap();
    assert_eq!(log.lines().count(), 4, "{log}");
    assert!(!log.contains('\u{1b}') && !live.bin(&["core", "list"]).stdout.contains('\u{1b}'));
    for name in ["x:cri-containerd:..", "x:cri-containerd:a b", "docker-..-.scope"] {
        let before = cores.dumps().len();
        let group = Group::named(name, "");
        group.hog(&["0", "0"]);
        wait_for_handlers(&live);
        // It is a container of no name, or none.
        let dumps = cores.dumps();
        assert!(dumps.len() == before || dumps.iter().any(|dump| live::entries(dump).len() >= 2));
        assert!(entries(&live.path("recordings"))
            .iter()
            .all(|path| path.ends_with("cores") || path.ends_with("users")));
    }
    assert!(fs::create_dir("/sys/fs/cgroup/pids/a\nb").is_err(), "the kernel refuses newlines");
}

#[test]
fn a_proc_and_a_root_of_the_processs_own_tell_the_handler_nothing() {
    let test = "a_proc_and_a_root_of_the_processs_own_tell_the_handler_nothing";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let group = Group::docker();
    // Its /proc has another process's files, its root has our directories and programs.
    let evil = live.path("evil");
    let text = format!(
        "mount --make-rprivate /; mount -t tmpfs none {root}; mkdir -p {root}/proc/1 {root}/run/ftrace-analyzer {root}/bin\n\
         cp {hog} {root}/bin/hog; printf '#!/bin/sh\\ntouch {evil}\\n' >{root}/bin/sh; chmod 755 {root}/bin/sh\n\
         echo 'Uid: 0' >{root}/proc/1/status; echo '0::/docker/{no}' >{root}/proc/1/cgroup\n\
         echo '{{\"dir\":\"{evil}\"}}' >{root}/run/ftrace-analyzer/core.json\n\
         exec chroot {root} /bin/hog 0 0",
        root = live.path("runc").display(),
        hog = hog().display(),
        evil = evil.display(),
        no = "f".repeat(64),
    );
    let program = script(&live, "inside", &text);
    group.run(0, &["unshare", "--mount", "--pid", "--fork", "--uts", word(&program)]);
    wait_for_handlers(&live);
    // unshare dies by the same signal.
    let known: Vec<Value> = cores.dumps().iter().map(|dump| about(dump)).collect();
    let known = known.iter().find(|about| about["comm"] == "hog").unwrap();
    assert_eq!(known["container"]["id"], group.id.as_str());
    assert_eq!(known["inner_pid"], 1);
    assert!(!evil.exists());
}

#[test]
fn copies_go_into_the_bundle_and_nowhere_else() {
    let test = "copies_go_into_the_bundle_and_nowhere_else";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &["--copy-to", "rootfs/var/crash"]);
    let crash = |bundle: &Path| {
        let id = live.id();
        live.run_container(Runc, bundle, &id);
        wait_for_handlers(&live);
        id
    };
    let bundle = || {
        let bundle = live.bundle(&["hog", "1", "0"]);
        fs::copy(hog(), bundle.join("rootfs/bin/hog")).unwrap();
        bundle
    };
    let first = bundle();
    let id = crash(&first);
    let dump = cores.dumps().pop().unwrap();
    let name = dump.file_name().unwrap();
    let copy = first.join("rootfs/var/crash").join(name);
    for file in ["core", "core.json"] {
        assert!(fs::read(copy.join(file)).unwrap() == fs::read(dump.join(file)).unwrap(), "{file}");
        assert_eq!(fs::metadata(copy.join(file)).unwrap().mode() & 0o777, 0o600);
    }
    assert!(name.to_str().unwrap().starts_with(&id));
    // In a user namespace of root's the copy is of the container's root, who is another user outside.
    let inside = bundle();
    assert!(Command::new("chown")
        .args(["-R", "200000:200000", word(&inside.join("rootfs"))])
        .status()
        .unwrap()
        .success());
    let path = inside.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{ "containerID": 0, "hostID": 200_000, "size": 1000 }]);
    }
    fs::write(&path, config.to_string()).unwrap();
    for dir in ["", inside.file_name().unwrap().to_str().unwrap()] {
        fs::set_permissions(live.path(dir), PermissionsExt::from_mode(0o711)).unwrap();
    }
    let id = crash(&inside);
    let copies = entries(&inside.join("rootfs/var/crash"));
    assert_eq!(copies.len(), 1, "{}", fs::read_to_string(live.path("run/hook.log")).unwrap());
    assert_eq!(fs::metadata(copies[0].join("core")).unwrap().uid(), 200_000);
    let stored = cores.dumps().into_iter().find(|dump| about(dump)["container"]["id"] == id.as_str()).unwrap();
    assert_eq!((fs::metadata(&stored).unwrap().uid(), about(&stored)["owner"].clone()), (0, json!(0)));
    // Links in the way, a pipe, a directory that is not there below a file.
    let outside = live.path("outside");
    fs::create_dir(&outside).unwrap();
    let obstacles: [&dyn Fn(&Path); 4] = [
        &|root| symlink(&outside, root.join("var")).unwrap(),
        &|root| {
            fs::create_dir(root.join("var")).unwrap();
            symlink(&outside, root.join("var/crash")).unwrap();
        },
        &|root| assert!(Command::new("mkfifo").arg(root.join("var")).status().unwrap().success()),
        &|root| fs::write(root.join("var"), "").unwrap(),
    ];
    for put in obstacles {
        let bundle = bundle();
        put(&bundle.join("rootfs"));
        crash(&bundle);
        assert_eq!(entries(&outside), Vec::<PathBuf>::new());
        let log = fs::read_to_string(live.path("run/hook.log")).unwrap();
        assert!(log.lines().last().unwrap().contains("not copied to its bundle"), "{log}");
    }
    assert_eq!(cores.dumps().len(), 6, "what is not copied is stored all the same");
    live.expect_nothing_left();
}

#[test]
fn a_set_uid_program_in_a_container_leaves_a_dump_for_root_alone() {
    let test = "a_set_uid_program_in_a_container_leaves_a_dump_for_root_alone";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let _dumpable = Sysctl::set(&[("fs/suid_dumpable", "2")]);
    let cores = Cores::install(&live, "core", &["--copy-to", "rootfs/var/crash"]);
    let bundle = live.bundle(&["hog", "1", "0"]);
    let program = bundle.join("rootfs/bin/hog");
    fs::copy(hog(), &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["user"] = json!({ "uid": USER, "gid": USER });
    config["process"]["noNewPrivileges"] = json!(false);
    fs::write(&path, config.to_string()).unwrap();
    let id = live.id();
    live.run_container(Runc, &bundle, &id);
    wait_for_handlers(&live);
    let dump = cores.dumps().pop().unwrap();
    let known = about(&dump);
    assert_eq!((&known["dumpable"], &known["owner"], &known["user"]), (&json!(2), &json!(0), &json!(USER)));
    assert_eq!(known["container"]["id"], id.as_str());
    assert!(!bundle.join("rootfs/var").exists(), "it is not copied to where others may read it");
    live.expect_nothing_left();
}
