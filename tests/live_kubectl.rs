// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: the plugin of kubectl, with a stand-in for kubectl and a container of real runc as containerd has it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;
#[path = "common/pods.rs"]
mod pods;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use live::{wait_for, Live, Out, Runc, BIN};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use pods::{containerd, Places};
use serde_json::json;

const LOOP: [&str; 3] = ["sh", "-c", "while :; do ls /; sleep 0.1; done"];

/// A cluster of one pod.
struct Cluster {
    live: Live,
    pod: String,
    _places: Places,
    id: String,
}

impl Cluster {
    /// With the container `app`, which has these hooks.
    fn new(test: &str, with_hooks: bool) -> Option<Cluster> {
        let live = Live::new(test, &[Runc])?;
        for program in ["setsid", "setpriv"] {
            if live::which(program).is_none() {
                live::skip(test, &format!("no {program}"));
                return None;
            }
        }
        let pod = format!("web-{}", live.id());
        let mut places = Places::default();
        let hooks = match with_hooks {
            true => json!({ "createRuntime": [live.hook(&["start"])], "poststop": [live.hook(&["stop"])] }),
            false => json!({}),
        };
        let id = places.start(&live, &LOOP, &containerd(&pod, "app"), hooks);
        fs::create_dir(live.path("bin")).unwrap();
        symlink(BIN, live.path("bin/ftrace-analyzer")).unwrap();
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/kubectl"), live.path("bin/kubectl"))
            .unwrap();
        Some(Cluster { live, pod, _places: places, id })
    }

    fn command(&self, args: &[&str]) -> Command {
        // A shell can not trap what was ignored when it began, and whoever runs the tests in the background ignores Ctrl-C.
        let mut command = self.live.command("env");
        command.args(["--default-signal=INT", concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes/kubectl-ftrace")]);
        let path = format!("{}:{}", self.live.path("bin").display(), std::env::var("PATH").unwrap());
        command.args(args).env("PATH", path).env("STAND_IN_POD", &self.pod);
        command.env("STAND_IN_LOG", self.live.path("log")).env_remove("KUBECTL_FTRACE_NAMESPACE");
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Out {
        live::run(self.command(args), b"")
    }

    /// What a person at a terminal starts, once it has printed calls.
    fn begin(&self, args: &[&str], output: &str) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(File::create(self.live.path(output)).unwrap());
        command.stderr(File::create(self.live.path(&format!("{output}.err"))).unwrap());
        let child = command.spawn().unwrap();
        wait_for("calls", || {
            fs::read_to_string(self.live.path(output))
                .is_ok_and(|text| text.matches("openat(").count() > 2)
                .then_some(())
        });
        child
    }
}

fn signal(child: &Child, which: Signal) {
    killpg(Pid::from_raw(child.id() as i32), which).unwrap();
}

#[test]
fn the_plugin_prints_the_calls_of_a_pod_until_ctrl_c_and_leaves_nothing_running() {
    let test = "the_plugin_prints_the_calls_of_a_pod_until_ctrl_c_and_leaves_nothing_running";
    let Some(cluster) = Cluster::new(test, false) else { return };
    let (live, pod) = (&cluster.live, cluster.pod.as_str());
    let mut child = cluster.begin(&[pod, "-n", "shop", "-c", "app"], "first");
    signal(&child, Signal::SIGINT);
    assert_eq!(live::wait(&mut child, "kubectl ftrace").code(), Some(0));
    let said = fs::read_to_string(live.path("first.err")).unwrap();
    assert!(said.contains(&format!("of pod:shop/{pod}/app to ")), "{said}");
    assert!(said.contains(" 0 lost") && said.contains("SIGINT"), "the last line comes through: {said}");
    live.expect_nothing_left();
    let log = fs::read_to_string(live.path("log")).unwrap();
    assert!(log.starts_with(&format!("get pod --namespace shop {pod} -o jsonpath=")), "{log}");

    // The connection breaks: all on this side is killed.
    let mut child = cluster.begin(&[pod, "--syscalls", "%file"], "second");
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    live.expect_nothing_left();
    // The container ends.
    let mut child = cluster.begin(&[&format!("pod/{pod}")], "third");
    live.oci(Runc, &["delete", "--force", &cluster.id]).expect_code(0);
    assert_eq!(live::wait(&mut child, "kubectl ftrace").code(), Some(0));
    live.expect_nothing_left();
    for recording in live.recordings(&cluster.id) {
        let meta = live.meta(&recording);
        assert_eq!((&meta["state"], &meta["container"]["pod"]), (&json!("complete"), &json!(pod)));
        assert_eq!(meta["problems"], json!([]), "with the privileges that the DaemonSet has");
    }
    assert_eq!(live.recordings(&cluster.id).len(), 3);
}

#[test]
fn the_plugin_lists_shows_follows_and_ends_what_hooks_record() {
    let Some(cluster) = Cluster::new("the_plugin_lists_shows_follows_and_ends_what_hooks_record", true) else { return };
    let (live, pod) = (&cluster.live, cluster.pod.as_str());
    let mut child = cluster.begin(&[pod, "follow"], "follow");
    signal(&child, Signal::SIGINT);
    live::wait(&mut child, "kubectl ftrace follow");
    let mut child = cluster.begin(&[pod, "follow"], "killed");
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let follows = || {
        let all = live::entries(Path::new("/proc")).into_iter();
        let lines = all.filter_map(|process| fs::read(process.join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("follow\0pod:shop/{pod}"))).count()
    };
    wait_for("the end of both", || (follows() == 0).then_some(()));
    assert!(live.recorder(&cluster.id).is_some(), "what hooks record goes on");

    let listed = cluster.run(&[pod, "list"]).expect_code(0).stdout;
    assert!(listed.contains(&format!("shop/{pod}/app")) && listed.contains("running"), "{listed}");
    let shown = live.path("shown").display().to_string();
    let out = cluster.run(&[pod, "report", "--format", "summary", "-o", &shown]);
    assert_eq!(out.stdout, "");
    assert!(fs::read_to_string(&shown).unwrap().contains("openat"));
    cluster.run(&[pod, "stop"]).expect_code(0);
    live.expect_nothing_left();
    cluster.run(&[pod, "seccomp", "denials"]).expect_code(0);
    let profile = cluster.run(&[pod, "seccomp", "generate"]).expect_code(0).stdout;
    assert!(profile.contains("SCMP_ACT_ALLOW"), "{profile}");
    cluster.run(&["node/one", "doctor"]);
    // The annotation that kubectl has for this, too, unless -c says otherwise.
    let mut command = cluster.command(&[pod, "report"]);
    let said = live::run(command_with(&mut command, "other"), b"").expect_code(1).stderr;
    assert!(said.contains(&format!("pod:shop/{pod}/other")), "{said}");
    let mut command = cluster.command(&[pod, "-c", "app", "report"]);
    live::run(command_with(&mut command, "other"), b"").expect_code(0);
}

fn command_with(command: &mut Command, container: &str) -> Command {
    command.env("STAND_IN_CONTAINER", container);
    std::mem::replace(command, Command::new("true"))
}

#[test]
fn the_plugin_says_what_is_missing_and_runs_nothing_else() {
    let Some(cluster) = Cluster::new("the_plugin_says_what_is_missing_and_runs_nothing_else", false) else { return };
    let pod = cluster.pod.as_str();
    for (args, code, told) in [
        (&["nobody"][..], 1, "pods \"x\" not found"),
        (&[][..], 2, "Usage: kubectl ftrace POD"),
        (&[pod, "frobnicate"][..], 2, "there is no frobnicate"),
        (&[pod, "-c"][..], 2, "-c needs a value"),
        (&["deploy/web"][..], 2, "is not a pod"),
        (&["--mode", "count", pod][..], 2, "the pod comes first"),
        (&["node/one", "attach"][..], 2, "there are doctor, list and gc"),
        (&["node/two", "doctor"][..], 1, "no pod of ftrace-analyzer runs on node two"),
        (&[pod, "report", "--dir", "/x"][..], 2, "names a file of the node"),
        (&[pod, "-c", "x; id", "list"][..], 1, "a recording pod:shop/"),
    ] {
        let out = cluster.run(args);
        assert!(out.code == code && out.stderr.contains(told), "{args:?}: {} {}", out.code, out.stderr);
    }
    assert!(cluster.run(&["--help"]).expect_code(0).stdout.contains("Examples:"));
    cluster.live.expect_nothing_left();
}
