// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: hooks that `hooks install` put into a bundle, under real runc and crun, beside hooks of others.
//!
//! What the engines above them make of the other files: docs/hooks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;

use live::{wait_for, Crun, Live, Need, Runc};
use serde_json::{json, Value};

/// Installs into a bundle with these hooks of others, runs it, and removes; the container is recorded whole.
fn is_recorded(live: &Live, need: Need, others: Value, stage: &str) {
    let bundle = live.bundle_with(&["sh", "-c", "exit 3"], others);
    let config = bundle.join("config.json");
    let before = fs::read(&config).unwrap();
    let path = bundle.to_str().unwrap();
    let install = ["hooks", "install", "--runtime", "bundle", path, "--stage", stage];
    live.bin(&install).expect_code(0);
    let again = live.bin(&install).expect_code(0);
    assert!(again.stdout.contains(": installed already, unchanged\n"), "{}", again.stdout);
    let id = live.id();
    live.run_container(need, &bundle, &id).expect_code(3);
    wait_for("the recording", || (live.recordings(&id).len() == 1).then_some(()));
    live.expect_nothing_left();
    let report = live.bin(&["report", &id]).expect_code(0);
    assert!(report.calls()[0].contains(" execve(\"/bin/sh\", "), "{}", report.stdout);
    for sentence in ["+++ exited with 3 +++", "they add up", "# recording complete"] {
        assert!(report.stdout.contains(sentence), "{sentence}: {}", report.stdout);
    }
    live.bin(&["hooks", "remove", "--runtime", "bundle", path]).expect_code(0);
    assert!(fs::read(&config).unwrap() == before, "every byte as it was");
    let id = live.id();
    live.run_container(need, &bundle, &id).expect_code(3);
    assert!(live.recordings(&id).is_empty());
}

/// The states of `hooks` that an engine or a person may have left: a hook of another writes a file.
fn states(live: &Live) -> [Value; 4] {
    let touch = |name: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("cat; > {}", live.path(name).display())] });
    let one =
        json!({ "prestart": [touch("prestart")], "createRuntime": [touch("create")], "poststop": [touch("poststop")] });
    [Value::Null, json!({}), json!({ "prestart": null, "poststop": [] }), one]
}

#[test]
fn hooks_installed_into_a_bundle_record_it_under_runc() {
    let Some(live) = Live::new("hooks_installed_into_a_bundle_record_it_under_runc", &[Runc]) else { return };
    for state in states(&live) {
        is_recorded(&live, Runc, state.clone(), "prestart");
        is_recorded(&live, Runc, state, "createRuntime");
    }
    for name in ["prestart", "create", "poststop"] {
        assert!(live.path(name).exists(), "the {name} hook of another is called as well");
    }
}

#[test]
fn hooks_installed_into_a_bundle_record_it_under_crun() {
    let Some(live) = Live::new("hooks_installed_into_a_bundle_record_it_under_crun", &[Crun]) else { return };
    for state in states(&live) {
        is_recorded(&live, Crun, state.clone(), "prestart");
        is_recorded(&live, Crun, state, "createRuntime");
    }
}

#[test]
fn a_poststop_hook_that_fails_does_not_keep_ours_from_being_called() {
    let Some(live) = Live::new("a_poststop_hook_that_fails_does_not_keep_ours_from_being_called", &[Runc]) else {
        return;
    };
    let bundle = live.bundle_with(&["true"], json!({ "poststop": [{ "path": "/bin/false" }] }));
    let report = live.path("written");
    let (path, written) = (bundle.to_str().unwrap(), report.to_str().unwrap());
    live.bin(&["hooks", "install", "--runtime", "bundle", path, "--report", written, "--syscalls", "%file"])
        .expect_code(0);
    let id = live.id();
    live.run_container(Runc, &bundle, &id).expect_code(0);
    wait_for("the report of our hook", || report.exists().then_some(()));
    live.expect_nothing_left();
    let options = live.report_json(&id, &[]);
    assert_eq!(options[0]["syscalls_recorded"], "%file");
}
