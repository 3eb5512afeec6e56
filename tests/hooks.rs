// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hooks install`, `print` and `remove` on files: texts of any shape come back byte for byte, and what is not ours stays.
//! Containers that call the hooks: tests/live_installed.rs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/machine.rs"]
mod machine;

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::rng::Rng;
use ftrace_analyzer::hooks::edit::{insert, remove, Entry, MARK};
use machine::{run, Out, BIN};
use serde_json::{json, Value};

fn entry(what: &str) -> Entry {
    let args = ["ftrace-analyzer", "hook", what, "--name", "\"\\\n\u{e9}"];
    Entry { path: "/usr/bin/f".into(), args: args.map(str::to_owned).to_vec(), env: vec!["A=b c".into()] }
}

fn put_in(text: &str, stage: &str) -> Vec<u8> {
    insert(text.as_bytes(), stage, &entry("start"), &entry("stop"), "").unwrap()
}

fn taken_out(text: &[u8]) -> String {
    String::from_utf8(remove(text).unwrap().0).unwrap()
}

/// Blanks as editors, pretty printers and Windows leave them.
fn blank(rng: &mut Rng) -> &'static str {
    rng.pick(&["", "", "", " ", "\n\t", "\r\n  ", "  "])
}

/// A list of texts between brackets, with blanks.
fn list(rng: &mut Rng, brackets: [char; 2], parts: &[String]) -> String {
    let mut text = String::from(brackets[0]);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text += blank(rng);
        text += part;
        text += blank(rng);
    }
    if parts.is_empty() {
        text += blank(rng);
    }
    text.push(brackets[1]);
    text
}

fn member(rng: &mut Rng, name: &str, value: &str) -> String {
    format!("\"{name}\"{}:{}{value}", blank(rng), blank(rng))
}

fn value(rng: &mut Rng, depth: u32) -> String {
    match rng.below(if depth > 2 { 5 } else { 8 }) {
        0 => rng.pick(&["null", "true", "false"]).into(),
        1 => rng.pick(&["0", "-0.10e+2", "18446744073709551615", "1E2", "-7"]).into(),
        2 => rng.pick(&["\"\"", "\"\\u00e9\\ud83d\\ude00\\/\"", "\"a,]}\\\"{[:\"", "\"hooks\"", "\"é\""]).into(),
        3 => "{}".into(),
        4 => "[]".into(),
        5 | 6 => {
            let parts: Vec<String> = (0..rng.below(4)).map(|_| value(rng, depth + 1)).collect();
            list(rng, ['[', ']'], &parts)
        }
        _ => object(rng, depth),
    }
}

fn object(rng: &mut Rng, depth: u32) -> String {
    let mut parts = Vec::new();
    for at in 0..rng.below(4) {
        let value = value(rng, depth + 1);
        let name = format!("{}{at}", rng.pick(&["a", "prestart\\n", "\\\"", "hooks ", "é"]));
        parts.push(member(rng, &name, &value));
    }
    list(rng, ['{', '}'], &parts)
}

/// `hooks` of others, in every state of each of its arrays.
fn hooks(rng: &mut Rng) -> String {
    let mut parts = Vec::new();
    for stage in ["poststart", "prestart", "createRuntime", "poststop", "startContainer"] {
        let array = match rng.below(5) {
            0 => continue,
            1 => "null".to_owned(),
            count => {
                let others: Vec<String> = (2..count).map(|_| other(rng)).collect();
                list(rng, ['[', ']'], &others)
            }
        };
        let at = rng.index(parts.len() + 1);
        parts.insert(at, member(rng, stage, &array));
    }
    list(rng, ['{', '}'], &parts)
}

fn other(rng: &mut Rng) -> String {
    let extra = value(rng, 2);
    let parts = [member(rng, "path", "\"/bin/true\""), member(rng, "x-unknown", &extra)];
    list(rng, ['{', '}'], &parts)
}

fn config(rng: &mut Rng) -> String {
    let mut parts = vec![member(rng, "ociVersion", "\"1.0.2-dev\"")];
    for at in 0..rng.below(4) {
        let value = value(rng, 0);
        parts.push(member(rng, &format!("m{at}"), &value));
    }
    let hooks = match rng.below(4) {
        0 => None,
        1 => Some("null".to_owned()),
        _ => Some(hooks(rng)),
    };
    if let Some(hooks) = hooks {
        let at = rng.index(parts.len() + 1);
        parts.insert(at, member(rng, "hooks", &hooks));
    }
    if rng.below(20) == 0 {
        parts.clear();
    }
    format!("{}{}{}", blank(rng), list(rng, ['{', '}'], &parts), blank(rng))
}

fn array<'v>(config: &'v Value, stage: &str) -> &'v [Value] {
    config["hooks"][stage].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn whatever_the_text_what_is_put_in_comes_out_and_leaves_every_byte_as_it_was() {
    for seed in 0..3000 {
        let rng = &mut Rng::new(seed);
        let text = config(rng);
        let stage = rng.pick(&["prestart", "createRuntime"]);
        let with = put_in(&text, stage);
        assert_eq!(taken_out(&with), text, "seed {seed}: {}", String::from_utf8_lossy(&with));
        assert_eq!(taken_out(text.as_bytes()), text, "seed {seed}: nothing of ours");

        // In meaning: ours last of its stage and first of poststop, all else as it was.
        let mut before: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("seed {seed}: {why}: {text}"));
        let mut after: Value = serde_json::from_slice(&with).unwrap();
        let (start, stop) = (array(&after, stage), array(&after, "poststop"));
        assert_eq!(start[..start.len() - 1], *array(&before, stage), "seed {seed}");
        assert_eq!(stop[1..], *array(&before, "poststop"), "seed {seed}");
        for (ours, what) in [(&start[start.len() - 1], "start"), (&stop[0], "stop")] {
            assert_eq!((&ours["path"], &ours["args"]), (&json!("/usr/bin/f"), &json!(entry(what).args)), "seed {seed}");
            assert!(ours["env"][0].as_str().unwrap().starts_with(MARK) && ours["env"][1] == "A=b c");
        }
        for config in [&mut before, &mut after] {
            if !config["hooks"].is_object() {
                config["hooks"] = json!({});
            }
            for stage in [stage, "poststop"] {
                config["hooks"].as_object_mut().unwrap().remove(stage);
            }
        }
        assert_eq!(before, after, "seed {seed}");

        // Laid out anew in between: the same in meaning.
        let anew: Value = serde_json::from_slice(&with).unwrap();
        for anew in [serde_json::to_vec(&anew).unwrap(), serde_json::to_vec_pretty(&anew).unwrap()] {
            let out: Value = serde_json::from_str(&taken_out(&anew)).unwrap();
            assert_eq!(out, serde_json::from_str::<Value>(&text).unwrap(), "seed {seed}");
        }
        // Both stages, as two versions of ours might have left them.
        let other = if stage == "prestart" { "createRuntime" } else { "prestart" };
        assert_eq!(taken_out(&put_in(std::str::from_utf8(&with).unwrap(), other)), text, "seed {seed}");
    }
}

#[test]
fn entries_put_behind_ours_stay_when_ours_goes() {
    let with = String::from_utf8(put_in("{\"a\": 1}\n", "prestart")).unwrap();
    let mut changed: Value = serde_json::from_str(&with).unwrap();
    changed["hooks"]["prestart"].as_array_mut().unwrap().push(json!({ "path": "/later" }));
    let out: Value = serde_json::from_str(&taken_out(changed.to_string().as_bytes())).unwrap();
    assert_eq!(out, json!({ "a": 1, "hooks": { "prestart": [{ "path": "/later" }] } }));
}

#[test]
fn a_text_that_means_different_things_to_different_runtimes_is_refused_with_its_place() {
    for (text, told) in [
        ("", "line 1, column 1"),
        ("[]", "not the JSON expected at line 1, column 1"),
        ("{\n  \"a\": 1,\n  \"b\" 2\n}", "line 3, column 7"),
        ("{\r\n \"a\": tru\r\n}", "line 2, column 7"),
        ("{} x", "line 1, column 4"),
        ("{\"hooks\": 5}", "\"hooks\" is not what it should be at line 1, column 11"),
        ("{\"hooks\": {}, \"hooks\": {}}", "\"hooks\" stands twice, or in capitals, at line 1, column 15"),
        ("{\"Hooks\": {}}", "\"hooks\" stands twice, or in capitals, at line 1, column 2"),
        ("{\"hooks\": {\"preStart\": []}}", "\"prestart\" stands twice, or in capitals, at line 1, column 12"),
        ("{\"hooks\": {\"poststop\": {}}}", "\"poststop\" is not what it should be at line 1, column 24"),
        ("{\"hooks\": {\"prestart\": 1}}", "\"prestart\" is not what it should be at line 1, column 24"),
    ] {
        let clean = remove(text.as_bytes()).map(|(clean, _)| clean);
        let put_in = |clean: Vec<u8>| insert(&clean, "prestart", &entry("start"), &entry("stop"), "");
        let why = clean.and_then(put_in).unwrap_err().to_string();
        assert!(why.contains(told), "{text}: {why}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(remove(deep.as_bytes()).is_err());
}

/// A directory of a test, gone with it.
struct Corner(PathBuf);

impl Corner {
    fn new(name: &str) -> Corner {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-hooks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Corner(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// All files, sorted, without the directory.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.0.clone()];
        while let Some(dir) = dirs.pop() {
            for path in machine::entries(&dir) {
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(path.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn hooks_do(words: &[&str]) -> Out {
    let mut command = Command::new(BIN);
    command.arg("hooks").args(words).env_clear().env("PATH", "/nowhere").current_dir("/");
    run(command, b"")
}

const PRETTY: &str = "{\n\t\"ociVersion\": \"1.0.2-dev\",\n\t\"process\": {\"args\": [\"sh\"]}\n}\n";

#[test]
fn a_bundle_keeps_rights_and_bytes_and_tells_what_became_of_it() {
    let corner = Corner::new("bundle");
    let config = corner.write("config.json", PRETTY);
    let bundle = corner.path("");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = fs::metadata(&config).unwrap().uid() == 0;
    if is_root {
        std::os::unix::fs::chown(&config, Some(1234), Some(4321)).unwrap();
    }
    let out = hooks_do(&["install", "--runtime", "bundle", &bundle, "--binary", "/bin/sh"]).expect_code(0);
    assert_eq!((out.stdout, out.stderr), (format!("{config}: written\n"), String::new()));
    let installed = corner.read("config.json");
    let out = hooks_do(&["install", "--runtime", "bundle", &config, "--binary", "/bin/sh"]).expect_code(0);
    assert!(out.stdout.starts_with(&format!("{config}: installed already, unchanged\n")));
    assert_eq!(corner.read("config.json"), installed);
    let line = format!("\"env\":[\"{MARK}{} hooks stage\"]", env!("CARGO_PKG_VERSION"));
    assert!(installed.contains(&line), "{installed}");

    // Of an older version, with other options: replaced in its place.
    fs::write(&config, installed.replace(env!("CARGO_PKG_VERSION"), "0.0.9")).unwrap();
    let words =
        ["install", "--runtime", "bundle", &bundle, "--mode", "flight", "--strict", "--report", "/r", "--dir", "/d"];
    let out = hooks_do(&[&words[..], &["--binary", "/no/where", "--json"]].concat()).expect_code(0);
    let told = &out.json()[0];
    assert_eq!(told["files"], json!([{ "path": config, "state": "replaced", "was": "0.0.9" }]));
    assert!(told["notes"][0].as_str().unwrap().starts_with("/no/where is not there"), "{told}");
    let hooks = &corner.json("config.json")["hooks"];
    assert_eq!(hooks["prestart"].as_array().unwrap().len(), 1);
    let args = &hooks["prestart"][0]["args"];
    assert_eq!(*args, json!(["ftrace-analyzer", "hook", "start", "--mode", "flight", "--dir", "/d", "--strict"]));
    assert_eq!(
        hooks["poststop"][0]["args"],
        json!(["ftrace-analyzer", "hook", "stop", "--report", "/r", "--dir", "/d"])
    );

    let out = hooks_do(&["remove", "--runtime", "bundle", &bundle]).expect_code(0);
    assert_eq!(out.stdout, format!("{config}: removed, of version {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(corner.read("config.json"), PRETTY);
    let after = fs::metadata(&config).unwrap();
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert!(!is_root || (after.uid(), after.gid()) == (1234, 4321));
    let out = hooks_do(&["remove", "--runtime", "bundle", &bundle]).expect_code(0);
    assert_eq!(out.stdout, format!("{config}: nothing of ours there\n"));
    assert_eq!(corner.files(), ["config.json"]);
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_changed() {
    let corner = Corner::new("wrong");
    let fails = |words: &[&str], code: i32, told: &str| {
        let out = hooks_do(words).expect_code(code);
        assert!(out.stderr.contains(told) && out.stdout.is_empty(), "{words:?}: {}", out.stderr);
    };
    let bundle = |path: &str, told: &str| fails(&["install", "--runtime", "bundle", path], 1, told);
    bundle(&corner.path(""), "config.json not found");
    let damaged = corner.write("damaged/config.json", "{\n  \"a\": [1,\n}\n");
    bundle(&damaged, "damaged/config.json: this is not the JSON expected at line 3, column 1");
    symlink(&damaged, corner.path("link")).unwrap();
    fails(&["install", "--runtime", "bundle", &corner.path("link")], 1, "Too many levels of symbolic links");
    fails(&["install"], 2, "--runtime is missing");
    fails(&["install", "--runtime", "podmn"], 2, "there are bundle podman crio cdi containerd docker");
    fails(&["install", "--runtime", "bundle"], 2, "the bundle is missing");
    fails(&["install", "--runtime", "cdi", "/x"], 2, "--runtime bundle alone");
    fails(&["install", "--runtime", "cdi", "--into", "x"], 2, "--into: \"x\" is not an absolute path");
    fails(&["install", "--runtime", "cdi", "--stage", "poststart"], 2, "neither prestart nor createRuntime");
    fails(&["install", "--runtime", "cdi", "--mode", "flihgt"], 2, "is not a mode");
    fails(&["install", "--runtime", "cdi", "--syscalls", "opnat"], 2, "there is no system call \"opnat\"");
    fails(&["install", "--runtime", "cdi", "--report", "r"], 2, "--report: \"r\" is not an absolute path");
    fails(&["install", "--runtime", "containerd", "--root", &corner.path("root")], 3, "this system lacks ctr");

    // A file of our name that is not ours, and a link in its place.
    let foreign = corner.write("cdi/ftrace-analyzer.json", "{}");
    let cdi = corner.path("cdi");
    fails(&["install", "--runtime", "cdi", "--into", &cdi], 2, "is there and not of ours");
    let out = hooks_do(&["remove", "--runtime", "cdi", "--into", &cdi]).expect_code(0);
    assert!(out.stdout.ends_with("nothing of ours there\n") && fs::read(&foreign).unwrap() == b"{}");
    hooks_do(&["install", "--runtime", "cdi", "--into", &cdi, "--force"]).expect_code(0);
    hooks_do(&["remove", "--runtime", "cdi", "--into", &cdi]).expect_code(0);
    let elsewhere = corner.write("elsewhere", "kept");
    symlink(&elsewhere, &foreign).unwrap();
    fails(&["install", "--runtime", "cdi", "--into", &cdi, "--force"], 1, "Too many levels of symbolic links");
    assert_eq!(corner.read("elsewhere"), "kept");
    corner.write("file", "");
    fails(&["install", "--runtime", "cdi", "--into", &corner.path("file/below")], 1, "Not a directory");
}

#[test]
fn a_config_of_five_megabytes_is_no_trouble() {
    let corner = Corner::new("large");
    let many = vec!["{\"destination\": \"/a\", \"source\": \"/b\"}"; 160_000].join(",\n");
    let text = format!("{{\"mounts\": [{many}],\n\"hooks\": {{\"prestart\": [ {{\"path\": \"/x\"}} ]}}}}");
    assert!(text.len() > 5 << 20);
    let config = corner.write("config.json", &text);
    hooks_do(&["install", "--runtime", "bundle", &config]).expect_code(0);
    assert_eq!(corner.json("config.json")["hooks"]["prestart"].as_array().unwrap().len(), 2);
    hooks_do(&["remove", "--runtime", "bundle", &config]).expect_code(0);
    assert!(corner.read("config.json") == text);
}

#[test]
fn hooks_d_has_a_file_for_either_hook_and_asks_for_the_annotation_exactly() {
    let corner = Corner::new("hooksd");
    let dir = corner.path("etc/hooks.d");
    let install = |more: &[&str]| {
        hooks_do(&[&["install", "--runtime", "podman", "--into", &dir, "--binary", "/usr/bin/f"], more].concat())
            .expect_code(0)
    };
    install(&["--data", "64"]);
    let [start, stop] = ["start", "stop"].map(|what| corner.json(&format!("etc/hooks.d/ftrace-analyzer-{what}.json")));
    assert_eq!(
        (&start["version"], &start["stages"], &stop["stages"]),
        (&json!("1.0.0"), &json!(["prestart"]), &json!(["poststop"]))
    );
    assert_eq!(start["hook"]["args"], json!(["ftrace-analyzer", "hook", "start", "--data", "64"]));
    let when = json!({ "annotations": { r"^(oci-ftrace-syscall-analyzer|ftrace-analyzer)/trace(\..+)?$": "^true$" } });
    assert_eq!((&start["when"], &stop["when"]), (&when, &when));
    // A condition of the user's is looked at by the hook.
    let other = install(&["--if-annotation", "a.b/c=1|2", "--stage", "createRuntime"]);
    assert_eq!(other.stdout.matches(": replaced what was there").count(), 2, "{}", other.stdout);
    let start = corner.json("etc/hooks.d/ftrace-analyzer-start.json");
    assert_eq!((&start["when"], &start["stages"]), (&json!({ "always": true }), &json!(["createRuntime"])));
    assert_eq!(start["hook"]["args"][4], "a.b/c=1|2");
    install(&[]);
    install(&["--always"]);
    assert_eq!(corner.json("etc/hooks.d/ftrace-analyzer-stop.json")["when"], json!({ "always": true }));
    assert_eq!(fs::metadata(corner.path("etc/hooks.d")).unwrap().mode() & 0o777, 0o755);
    hooks_do(&["remove", "--runtime", "podman", "--into", &dir]).expect_code(0);
    assert!(!Path::new(&corner.path("etc")).exists(), "directories that were made for the files");

    // Those that were there stay.
    fs::create_dir_all(corner.path("etc/hooks.d")).unwrap();
    install(&[]);
    hooks_do(&["remove", "--runtime", "podman", "--into", &dir]).expect_code(0);
    assert!(Path::new(&dir).exists() && corner.files().is_empty());
}

#[test]
fn a_packager_gets_the_files_below_a_root_and_the_paths_in_them_without() {
    let corner = Corner::new("root");
    let (root, base) = (corner.path("image"), corner.write("base.json", PRETTY));
    let words = |verb, runtime| vec![verb, "--runtime", runtime, "--root", &root];
    for runtime in ["podman", "crio", "cdi", "docker", "containerd"] {
        let mut install = words("install", runtime);
        if runtime == "containerd" {
            install.extend(["--base", &base]);
        }
        // print shows what install writes.
        let print: Vec<&str> = ["print"].iter().chain(&install[1..]).chain(&["--json"]).copied().collect();
        let printed = hooks_do(&print).expect_code(0).json().remove(0);
        // What one has is the other's, too.
        let state = if matches!(runtime, "crio" | "docker") { "unchanged" } else { "written" };
        let told = hooks_do(&[&install[..], &["--json"]].concat()).expect_code(0).json().remove(0);
        for (file, shown) in told["files"].as_array().unwrap().iter().zip(printed["files"].as_array().unwrap()) {
            assert_eq!((&file["path"], &file["state"]), (&shown["path"], &json!(state)), "{runtime}");
            assert_eq!(fs::read_to_string(file["path"].as_str().unwrap()).unwrap(), shown["text"].as_str().unwrap());
        }
        let again = hooks_do(&[&install[..], &["--json"]].concat()).expect_code(0).json().remove(0);
        assert!(again["files"].as_array().unwrap().iter().all(|file| file["state"] == "unchanged"), "{again}");
    }
    assert_eq!(
        corner.files(),
        [
            "base.json",
            "image/etc/cdi/ftrace-analyzer.json",
            "image/etc/containerd/conf.d/ftrace-analyzer.toml",
            "image/etc/containerd/ftrace-analyzer.json",
            "image/usr/share/containers/oci/hooks.d/ftrace-analyzer-start.json",
            "image/usr/share/containers/oci/hooks.d/ftrace-analyzer-stop.json",
        ]
    );
    let cdi = corner.json("image/etc/cdi/ftrace-analyzer.json");
    assert_eq!((&cdi["cdiVersion"], &cdi["kind"]), (&json!("0.3.0"), &json!("ftrace-analyzer/trace")));
    let hooks = &cdi["devices"][0]["containerEdits"]["hooks"];
    assert_eq!((&hooks[0]["hookName"], &hooks[1]["hookName"]), (&json!("prestart"), &json!("poststop")));
    assert_eq!(hooks[0]["path"], json!("/usr/bin/ftrace-analyzer"));
    for name in corner.files().iter().skip(1) {
        assert!(!corner.read(name).contains(&root), "{name} names the root");
    }
    for runtime in ["podman", "crio", "cdi", "docker", "containerd"] {
        hooks_do(&words("remove", runtime)).expect_code(0);
    }
    assert_eq!(corner.files(), ["base.json"]);
}

#[test]
fn containerd_gets_a_runtime_that_its_own_configuration_is_not_lost_by() {
    let corner = Corner::new("containerd");
    let base = corner.write("base.json", PRETTY);
    let dir = corner.path("conf.d");
    let install = |more: &[&str]| {
        let words = ["install", "--runtime", "containerd", "--into", &dir, "--base", &base, "--binary", "/bin/sh"];
        hooks_do(&[&words[..], more].concat())
    };
    // No configuration: that of containerd 2, whose default imports the directory from 2.2 on.
    let out = install(&[]).expect_code(0);
    assert!(out.stdout.contains("config.toml is missing"), "{}", out.stdout);
    assert!(out.stdout.ends_with("kind: RuntimeClass\nmetadata:\n  name: runc-trace\nhandler: runc-trace\n"));
    let toml = corner.read("conf.d/ftrace-analyzer.toml");
    assert!(toml.contains("version = 3\n\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc-trace]\n"));
    assert!(toml.contains(&format!("base_runtime_spec = \"{}\"\n", corner.path("ftrace-analyzer.json"))), "{toml}");
    assert!(toml.contains("pod_annotations = [\"ftrace-analyzer/*\", \"oci-ftrace-syscall-analyzer/*\"]\n"));
    assert!(corner.json("ftrace-analyzer.json")["hooks"]["prestart"][0]["path"] == "/bin/sh");

    // containerd 1.x takes an imported file's plugin in place of the main file's: that is repeated, and only that.
    let main = "version = 2\nroot = \"/x\"\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"pause\"\n\
                [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc] # ours\n  runtime_type = \"t\"\n  \
                [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]\n    SystemdCgroup = true\n\
                [plugins.\"io.containerd.snapshotter.v1.zfs\"]\n  other = 1\n";
    corner.write("config.toml", main);
    let out = install(&[]).expect_code(0);
    let told = format!("config.toml has to have above its first table the line imports = [\"{dir}/*.toml\"]");
    assert!(out.stdout.contains(&told), "{}", out.stdout);
    let toml = corner.read("conf.d/ftrace-analyzer.toml");
    assert!(
        toml.contains("version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"pause\"\n"),
        "{toml}"
    );
    assert_eq!(
        (toml.matches(".runtimes.runc]").count(), toml.matches("SystemdCgroup = true").count()),
        (1, 2),
        "{toml}"
    );
    assert!(!toml.contains("other") && !toml.contains("root ="), "{toml}");

    // Imports are seen in each of the forms they have.
    for (imports, told) in [
        (format!("imports = [\"{dir}/*.toml\"]\n"), false),
        ("imports = ['conf.d/*.toml']\n".to_owned(), false),
        (format!("imports = [\n  \"/a\", # b\n  \"{dir}/ftrace-analyzer.toml\",\n]\n"), false),
        ("imports = [\"/a\"]\n".to_owned(), true),
        ("#imports = [\"conf.d/*.toml\"]\n".to_owned(), true),
    ] {
        corner.write("config.toml", &format!("{imports}version = 2\n"));
        let out = install(&[]).expect_code(0);
        assert_eq!(out.stdout.contains("imports"), told, "{imports}{}", out.stdout);
        let toml = corner.read("conf.d/ftrace-analyzer.toml");
        assert_eq!(toml.matches(".runtimes.runc]").count(), 1, "containerd 1.x would have no runc: {toml}");
    }
    corner.write("config.toml", "version = 3\n");
    install(&["--format", "2"]).expect_code(0);
    assert!(corner.read("conf.d/ftrace-analyzer.toml").contains("version = 2\n"));
    corner
        .write("config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc-trace]\n");
    let out = install(&[]).expect_code(2);
    assert!(out.stderr.contains("has a runtime runc-trace of its own"), "{}", out.stderr);
    hooks_do(&["remove", "--runtime", "containerd", "--into", &dir]).expect_code(0);
    assert_eq!(corner.files(), ["base.json", "config.toml"]);
}
