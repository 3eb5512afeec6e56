// SPDX-License-Identifier: Apache-2.0 OR MIT
//! packaging/ and meta-ftrace-analyzer/ against the program and its sources: no second copy of anything goes stale.
//!
//! What bitbake and the layer's linter say is in tests/layer/run, a step of CI's own.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/live.rs"]
mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use live::{skip, which, Live, Runc, BIN};
use serde_json::Value;

const LAYER: &str = "meta-ftrace-analyzer";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// All files below a directory, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display())).flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// The layer's files as the repository has them: what a check has left is none of it.
fn layer_files() -> Vec<PathBuf> {
    let made = |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("build"));
    files(&top().join(LAYER)).into_iter().filter(|path| !made(path)).collect()
}

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-layer-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn succeeds(command: &mut Command) -> Output {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    done
}

/// `packaging/install` of these parts into a directory, of our own program.
fn stage(root: &Path, words: &[&str]) {
    succeeds(Command::new(top().join("packaging/install")).args(words).env("DESTDIR", root).env("PROGRAM", BIN));
}

fn parts() -> Vec<String> {
    let done = succeeds(Command::new(top().join("packaging/install")).arg("--parts"));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_packaged_for_engines_is_what_the_program_writes() {
    let scratch = Scratch::new("hooks");
    let (written, staged) = (scratch.0.join("written"), scratch.0.join("staged"));
    for runtime in ["podman", "crio", "cdi", "docker", "containerd"] {
        let base = top().join("kubernetes/containerd-hooks/spec.json");
        let mut command = Command::new(BIN);
        command.args(["hooks", "install", "--runtime", runtime, "--root"]).arg(&written);
        if runtime == "containerd" {
            command.arg("--base").arg(base);
        }
        succeeds(command.env_remove("FTRACE_ANALYZER_DIR").env_remove("FTRACE_ANALYZER_RUN_DIR"));
    }
    stage(&staged, &["hooks-podman-crio", "hooks-cdi", "hooks-containerd"]);
    let contents = |root: &Path| -> BTreeMap<PathBuf, String> {
        let files = files(root).into_iter();
        files.map(|path| (path.strip_prefix(root).unwrap().into(), fs::read_to_string(&path).unwrap())).collect()
    };
    let (want, have) = (contents(&written), contents(&staged));
    assert_eq!(have.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    assert_eq!(want.len(), 5);
    for (path, text) in want {
        assert!(have[&path] == text, "packaging/hooks: {} is not what hooks install writes: {text}", path.display());
    }
}

#[test]
fn the_core_pattern_of_the_package_is_the_one_that_the_program_installs() {
    let settings = read("packaging/sysctl.d/60-ftrace-analyzer-core.conf");
    let value = |name: &str| {
        let line = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")).unwrap();
        line.to_owned()
    };
    let pattern = value("kernel.core_pattern");
    let values = pattern.strip_prefix("|/usr/bin/ftrace-analyzer core handle").unwrap();
    assert!(read("src/core_dump/pattern.rs").contains(&format!("const VALUES: &str = \"{values}\";")), "{pattern}");
    let limit = format!("pub const PIPE_LIMIT_WANTED: u32 = {};", value("kernel.core_pipe_limit"));
    assert!(read("src/core_dump/owner.rs").contains(&limit), "{limit}");
}

#[test]
fn every_file_of_packaging_is_installed_by_one_part() {
    let scratch = Scratch::new("parts");
    let mut owner: BTreeMap<PathBuf, String> = BTreeMap::new();
    for part in parts() {
        let root = scratch.0.join(&part);
        stage(&root, &["--systemd", "--sysvinit", &part]);
        let installed = files(&root);
        assert!(!installed.is_empty(), "{part} installs nothing");
        for path in installed {
            let path = path.strip_prefix(&root).unwrap().to_path_buf();
            if let Some(other) = owner.insert(path.clone(), part.clone()) {
                panic!("{} is of {other} and of {part}", path.display());
            }
        }
    }
    // Sources by their contents: the usual directories are what the files name already.
    let sources = files(&top().join("packaging")).into_iter().filter(|path| !path.ends_with("packaging/install"));
    let installed: BTreeSet<Vec<u8>> = files(&scratch.0).iter().map(|path| fs::read(path).unwrap()).collect();
    for source in sources {
        assert!(installed.contains(&fs::read(&source).unwrap()), "{} is installed by no part", source.display());
    }
    // Without an init system nothing starts, and scripts can be run.
    let root = scratch.0.join("neither");
    stage(&root, &parts().iter().map(String::as_str).collect::<Vec<_>>());
    for path in files(&root) {
        let text = path.to_string_lossy();
        assert!(!text.contains("/init.d/") && !text.contains("/systemd/"), "{text}");
        let runs = fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0;
        assert_eq!(runs, text.contains("/bin/") || text.contains("/libexec/"), "{text}");
    }
}

#[test]
fn other_directories_are_named_in_what_is_installed() {
    let scratch = Scratch::new("directories");
    let mut command = Command::new(top().join("packaging/install"));
    command.env("DESTDIR", &scratch.0).env("PROGRAM", BIN).env("bindir", "/opt/b").env("libexecdir", "/opt/l");
    command.env("datadir", "/opt/d").env("sysconfdir", "/opt/e").args(["--systemd", "--sysvinit"]).args(parts());
    succeeds(&mut command);
    for path in files(&scratch.0) {
        if path.ends_with("opt/b/ftrace-analyzer") || path.extension().is_some_and(|extension| extension == "1") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for usual in ["/usr/bin/ftrace", "/usr/libexec", "/usr/share/ftrace", "/etc/ftrace-analyzer"] {
            assert!(!text.contains(usual), "{} names {usual}", path.display());
        }
    }
}

#[test]
fn crates_of_the_recipe_are_those_of_cargo_lock() {
    let recipe = read(&format!("{LAYER}/recipes-trace/ftrace-analyzer/ftrace-analyzer-crates.inc"));
    let made = succeeds(Command::new(top().join(LAYER).join("scripts/crates")).arg("--print"));
    assert!(recipe.as_bytes() == made.stdout, "run {LAYER}/scripts/crates");
    // The script's reading of Cargo.lock against another one.
    let mut crates = 0;
    for package in read("Cargo.lock").split("[[package]]").filter(|package| package.contains("checksum")) {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")).unwrap();
            line.trim_end_matches('"').to_owned()
        };
        let (name, version, checksum) = (value("name"), value("version"), value("checksum"));
        assert!(recipe.contains(&format!("    crate://crates.io/{name}/{version} \\\n")), "{name}");
        assert!(recipe.contains(&format!("SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"\n")), "{name}");
        crates += 1;
    }
    assert_eq!(recipe.matches("crate://").count(), crates);
}

#[test]
fn recipes_are_of_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    let dir = format!("{LAYER}/recipes-trace/ftrace-analyzer");
    for name in ["", "-conf", "-bin"] {
        assert!(top().join(&dir).join(format!("ftrace-analyzer{name}_{version}.bb")).is_file(), "{name} {version}");
    }
    assert!(read(&format!("{dir}/ftrace-analyzer-git.inc")).contains(&format!("PV = \"{version}+git\"\n")));
}

#[test]
fn appends_do_nothing_but_where_the_feature_is_asked_for() {
    let mut seen = 0;
    for path in layer_files().iter().filter(|path| path.extension().is_some_and(|extension| extension == "bbappend")) {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let gated = lines[0].starts_with("require ${@bb.utils.contains('DISTRO_FEATURES', 'ftrace-analyzer', '")
            && lines[0].ends_with(".inc', '', d)}");
        assert!(lines.len() == 1 && gated, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn files_of_the_layer_say_their_licence_and_have_no_blanks_at_the_end() {
    for path in layer_files() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(top()).unwrap().display();
        let plain =
            path.extension().is_some_and(|extension| extension == "md" || extension == "MIT" || extension == "json");
        assert!(plain || text.contains("SPDX-License-Identifier: MIT\n"), "{name}");
        for (number, line) in text.lines().enumerate() {
            assert!(line == line.trim_end(), "{name}:{}", number + 1);
            let table = line.starts_with('|') || line.contains("://") || line.contains("${@");
            let width = if path.extension().is_some_and(|extension| extension == "md") { 120 } else { 130 };
            assert!(table || line.chars().count() <= width, "{name}:{}", number + 1);
        }
    }
}

#[test]
fn the_readme_of_the_layer_names_what_is_there_and_has_what_yocto_check_layer_looks_for() {
    let text = read(&format!("{LAYER}/README.md"));
    // Without the blocks between fences.
    let outside: String = text.split("```").step_by(2).collect();
    let words = outside.split('`').skip(1).step_by(2).flat_map(|span| span.split([' ', ':', ',']));
    let named: BTreeSet<&str> = words.filter(|word| word.contains('/')).collect();
    for word in &named {
        let here = ["scripts/", "kas/", "recipes-"].iter().any(|first| word.starts_with(first));
        let above =
            ["tests/", "cross/", "docs/", "packaging/", "meta-ftrace"].iter().any(|first| word.starts_with(first));
        let path = if here { top().join(LAYER).join(word) } else { top().join(word) };
        assert!(!(here || above) || path.exists() || word.ends_with("X.yml"), "{word}");
    }
    assert!(named.len() >= 10, "{named:?}");
    // Its words; a file that mentions another of that name would not be looked at.
    let lower = text.to_lowercase();
    assert!(
        lower.contains("maintainer") && lower.contains("patch") && lower.contains('@') && !lower.contains("readme")
    );
    for name in ["SECURITY.md", "COPYING.MIT"] {
        assert!(top().join(LAYER).join(name).is_file() && text.contains(name), "{name}");
    }
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts_of_packaging_and_layer() {
    let shellcheck = Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto/bin/shellcheck");
    if !shellcheck.is_file() {
        let name = "shellcheck_finds_nothing_in_the_scripts_of_packaging_and_layer";
        return skip(name, "no shellcheck; tests/run installs it");
    }
    let all = files(&top().join("packaging")).into_iter().chain(layer_files()).chain(files(&top().join("tests/layer")));
    let is_script = |path: &PathBuf| fs::read(path).is_ok_and(|text| text.starts_with(b"#!/bin/sh"));
    let scripts: Vec<PathBuf> = all.filter(is_script).collect();
    assert!(scripts.len() >= 10, "{scripts:?}");
    let out = Command::new(shellcheck).args(["--exclude=SC1091"]).args(scripts).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn systemd_takes_the_units_as_they_are() {
    if which("systemd-analyze").is_none() {
        return skip("systemd_takes_the_units_as_they_are", "no systemd-analyze; tests/run installs it");
    }
    let scratch = Scratch::new("units");
    stage(&scratch.0, &[&["--systemd"][..], &parts().iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let units = files(&scratch.0.join("usr/lib/systemd/system"));
    assert!(units.len() >= 5, "{units:?}");
    for unit in units {
        let text = fs::read_to_string(&unit).unwrap();
        // Of the machine's own units and programs not all are in the tree that is verified; what is ours has to be.
        let mut command = Command::new("systemd-analyze");
        command
            .args(["verify", "--man=no", "--recursive-errors=no", "--root"])
            .arg(&scratch.0)
            .arg(unit.file_name().unwrap());
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!said.contains("ftrace-analyzer") && !said.contains("Unknown"), "{}: {said}", unit.display());
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecSt")) {
            let program = line.split_once('=').unwrap().1.split(' ').next().unwrap();
            assert!(scratch.0.join(program.trim_start_matches('/')).is_file(), "{}: {program}", unit.display());
        }
    }
}

/// Parts of packaging/, installed where a test may: with paths of its own in all of them.
fn installed(live: &Live, words: &[&str]) {
    let root = live.path("installed");
    let mut command = Command::new(top().join("packaging/install"));
    for (name, dir) in
        [("bindir", "bin"), ("libexecdir", "libexec"), ("datadir", "share"), ("mandir", "man"), ("sysconfdir", "etc")]
    {
        command.env(name, root.join(dir));
    }
    succeeds(command.env("PROGRAM", BIN).env_remove("DESTDIR").args(words));
}

#[test]
fn the_demonstration_is_traced_when_the_machine_starts_for_the_first_time() {
    let name = "the_demonstration_is_traced_when_the_machine_starts_for_the_first_time";
    let Some(live) = Live::new(name, &[Runc]) else { return };
    installed(&live, &["--sysvinit", "program", "demo"]);
    let start = |word: &str| {
        let mut command = live.command(live.path("installed/etc/init.d/ftrace-analyzer-demo").to_str().unwrap());
        command.arg(word).env("FTRACE_ANALYZER_DEMO", live.path("demo")).env("RUNTIME", "runc");
        live::run(command, b"")
    };
    let first = start("start").expect_code(0);
    assert!(first.stdout.ends_with("traced; see: ftrace-analyzer report demo\n"), "{}", first.stdout);
    live::wait_for("the recording's end", || live.recorder("demo").is_none().then_some(()));
    let report = live.bin(&["report", "demo"]).expect_code(0);
    for sentence in [" execve(\"/bin/sh\", ", "ENOENT (No such file or directory)", "they add up", "recording complete"]
    {
        assert!(report.stdout.contains(sentence), "{sentence}: {}", report.stdout);
    }
    // Later starts leave it at that.
    let second = start("start").expect_code(0);
    assert!(second.stdout.contains("there is a recording already"), "{}", second.stdout);
    assert_eq!(live.recordings("demo").len(), 1);
    start("stop").expect_code(0);
    assert!(!live.path("demo").exists());
    live.expect_nothing_left();
}

#[test]
fn hooks_are_put_into_the_bundles_of_the_list() {
    let scratch = Scratch::new("bundles");
    let root = scratch.0.display().to_string();
    for name in ["one", "two", "third", "empty"] {
        fs::create_dir(scratch.0.join(name)).unwrap();
        if name != "empty" {
            fs::write(scratch.0.join(name).join("config.json"), "{}\n").unwrap();
        }
    }
    let list = scratch.0.join("list");
    fs::write(&list, format!("# ours\n\n{root}/t*  --mode flight\n{root}/one\n{root}/empty\n{root}/none\n")).unwrap();
    let mut command = Command::new(top().join("packaging/install"));
    let libexec = scratch.0.join("libexec");
    command.env("DESTDIR", "").env("bindir", scratch.0.join("bin")).env("libexecdir", &libexec).env("PROGRAM", BIN);
    command.env("sysconfdir", scratch.0.join("etc")).env("mandir", scratch.0.join("man"));
    succeeds(command.args(["program", "hooks-bundle"]));
    succeeds(Command::new(libexec.join("ftrace-analyzer/bundles")).arg(&list));
    for (name, mode) in [("one", None), ("two", Some("flight")), ("third", Some("flight"))] {
        let config: Value =
            serde_json::from_str(&fs::read_to_string(scratch.0.join(name).join("config.json")).unwrap()).unwrap();
        let args = config["hooks"]["prestart"][0]["args"].as_array().unwrap();
        assert_eq!(args.last().unwrap().as_str(), Some(mode.unwrap_or("start")), "{name}");
    }
    fs::write(scratch.0.join("one/config.json"), "no JSON").unwrap();
    let done = Command::new(libexec.join("ftrace-analyzer/bundles")).arg(&list).output().unwrap();
    assert_eq!(done.status.code(), Some(1), "a bundle that can not be edited is told");
}
