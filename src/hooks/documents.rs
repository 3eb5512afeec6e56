// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of ours that engines read: what is in each, by the engine's own format.
//!
//! Sources: containers/common pkg/hooks (1.0.0: all of `when` must match, expressions are not anchored), the CDI
//! specification (hooks since 0.3.0, and the lowest version is what the most engines take), containerd's docs/cri/config.md
//! and `imports` in containerd-config.toml(5).

use super::edit::{marked, members, Entry};
use super::Plan;
use crate::words;

/// The name of containerd's runtime and of the RuntimeClass.
const HANDLER: &str = "runc-trace";

/// One file of hooks.d for one entry. `prestart` is the name of a stage that all versions know (Podman 2 and CRI-O 1.17 know
/// no `createRuntime`), and means the same.
pub fn hooks_d(plan: &Plan<'_>, entry: &Entry, stage: &str, words: &str) -> String {
    let when = match plan.always {
        true => "\"always\":true",
        // Those that the hook itself looks for.
        false => "\"annotations\":{\"^(oci-ftrace-syscall-analyzer|ftrace-analyzer)/trace(\\\\..+)?$\":\"^true$\"}",
    };
    let hook = members(entry, words);
    ["{\n\"version\":\"1.0.0\",\n\"hook\":{", &hook, "},\n\"when\":{", when, "},\n\"stages\":[\"", stage, "\"]\n}\n"]
        .concat()
}

/// The CDI document, with the device `ftrace-analyzer/trace=syscalls`.
pub fn cdi(plan: &Plan<'_>, words: &str) -> String {
    let [start, stop] = [&plan.start, &plan.stop].map(|entry| members(entry, words));
    [
        "{\n\"cdiVersion\":\"0.3.0\",\n\"kind\":\"ftrace-analyzer/trace\",\n\
         \"devices\":[{\"name\":\"syscalls\",\"containerEdits\":{\"hooks\":[\n{\"hookName\":\"",
        plan.stage,
        "\",",
        &start,
        "},\n{\"hookName\":\"poststop\",",
        &stop,
        "}\n]}}]\n}\n",
    ]
    .concat()
}

/// What containerd's own configuration has, as far as it matters for ours.
#[derive(Debug, Default)]
pub struct Main {
    /// `version`; 0 where it says none.
    pub version: u64,
    /// The tables of the CRI plugin, as they stand there.
    cri: String,
    /// It has a runtime `runc` among them.
    has_runc: bool,
    /// It has a runtime of our name.
    pub has_ours: bool,
    /// runc uses systemd for control groups.
    systemd: bool,
    /// What stands behind `imports`.
    pub imports: String,
}

/// Whether a part stands in a text.
pub fn has(text: &str, part: &str) -> bool {
    words::split_once(text, part).is_some()
}

/// Reads it line by line, as people and `containerd config default` write it: no parser of TOML.
pub fn read_main(text: &str) -> Main {
    let mut main = Main::default();
    let (mut in_cri, mut in_tables, mut in_imports) = (false, false, false);
    for line in text.split('\n') {
        let bare = words::trim(line);
        if bare.starts_with('[') && !in_imports && has(bare, "]") && !has(bare, ",") {
            in_tables = true;
            in_cri = has(bare, "\"io.containerd.grpc.v1.cri\"") || has(bare, "\x27io.containerd.grpc.v1.cri\x27");
            main.has_runc |=
                in_cri && [".runtimes.runc]", "\"runc\"]", "\x27runc\x27]"].iter().any(|name| has(bare, name));
            main.has_ours |= has(bare, ".runtimes.runc-trace");
        }
        if in_cri {
            main.cri.push_str(line);
            main.cri.push('\n');
        }
        if bare.starts_with('#') {
            continue;
        }
        let value = words::split_once(bare, "=").map(|(key, value)| (words::trim(key), words::trim(value)));
        match value {
            Some(("version", value)) if !in_tables => main.version = words::number(value).unwrap_or(0),
            Some(("SystemdCgroup", value)) => main.systemd |= value.starts_with("true"),
            Some(("imports", _)) if !in_tables => in_imports = true,
            _ => {}
        }
        if in_imports {
            main.imports.push_str(bare);
            in_imports = !has(bare, "]");
        }
    }
    main
}

/// The file that containerd imports. Version 2 (containerd 1.x) takes a plugin's tables of the file that comes last in
/// place of all others (containerd issue 5837; merged since 2.0): there what config.toml has of the CRI plugin is repeated.
pub fn containerd(main: &Main, version: u64, base: &str, words: &str) -> String {
    let plugin = match version {
        2 => "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.",
        _ => "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.",
    };
    let runc = "]\n  runtime_type = \"io.containerd.runc.v2\"\n";
    let needs_runc = version == 2 && !main.has_runc;
    let first = if needs_runc { [plugin, "runc", runc].concat() } else { String::new() };
    let last =
        if main.systemd { [plugin, HANDLER, ".options]\n    SystemdCgroup = true\n"].concat() } else { String::new() };
    let parts = [
        concat!("# ", marked!()),
        words,
        if version == 2 { "\nversion = 2\n\n" } else { "\nversion = 3\n\n" },
        if version == 2 { &main.cri } else { "" },
        &first,
        plugin,
        HANDLER,
        runc,
        "  base_runtime_spec = \"",
        base,
        "\"\n  pod_annotations = [\"ftrace-analyzer/*\", \"oci-ftrace-syscall-analyzer/*\"]\n\
         \x20 container_annotations = [\"ftrace-analyzer/*\", \"oci-ftrace-syscall-analyzer/*\"]\n",
        &last,
    ];
    parts.concat()
}

/// What Kubernetes has to be told, for kubectl.
pub const RUNTIME_CLASS: &str = "\
    apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: runc-trace\nhandler: runc-trace\n";
