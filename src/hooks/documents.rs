// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of ours that engines read: what is in each, by the engine's own format.
//!
//! Sources: containers/common pkg/hooks (1.0.0: all of `when` must match, expressions are not anchored), the CDI
//! specification (hooks since 0.3.0, and the lowest version is what the most engines take), containerd's docs/cri/config.md
//! and `imports` in containerd-config.toml(5).

use super::edit::{marked, write_entry, Entry};
use super::Plan;
use crate::json::Json;
use crate::oci::TRACE_ANNOTATIONS;
use crate::words;

/// The CDI device that has a container traced.
const DEVICE: &str = "ftrace-analyzer/trace=syscalls";
/// The name of containerd's runtime and of the RuntimeClass.
const HANDLER: &str = "runc-trace";

/// A text as a regular expression of Go that matches it alone.
fn push_literal(out: &mut String, text: &str) {
    for char in text.chars() {
        if matches!(char, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$') {
            out.push('\\');
        }
        out.push(char);
    }
}

/// One file of hooks.d for one entry. `stages` has an array: `prestart` is the name that all versions know (Podman 2 and
/// CRI-O 1.17 know no `createRuntime`), and means the same.
pub fn hooks_d(plan: &Plan<'_>, entry: &Entry, stage: &str, words: &str) -> Vec<u8> {
    let mut json = Json::new();
    json.begin_object().line_break().field_str("version", "1.0.0").line_break().key("hook").begin_object();
    write_entry(&mut json, entry, words);
    json.end_object().line_break().key("when").begin_object();
    if plan.always {
        json.field_bool("always", true);
    } else {
        let (mut key, mut value) = (String::from("^"), String::from("^"));
        match plan.annotation {
            None => {
                for (at, name) in TRACE_ANNOTATIONS.iter().enumerate() {
                    key.push(if at == 0 { '(' } else { '|' });
                    push_literal(&mut key, name);
                }
                key.push(')');
                value.push_str("true$");
            }
            Some((name, wanted)) => {
                push_literal(&mut key, name);
                if let Some(wanted) = wanted {
                    push_literal(&mut value, wanted);
                    value.push('$');
                }
            }
        }
        key.push('$');
        json.key("annotations").begin_object().field_str(&key, &value).end_object();
    }
    json.end_object().line_break().key("stages").begin_array().string(stage).end_array().end_object().newline();
    json.into_bytes()
}

/// The CDI document.
pub fn cdi(plan: &Plan<'_>, words: &str) -> Vec<u8> {
    let mut json = Json::new();
    json.begin_object().line_break().field_str("cdiVersion", "0.3.0").line_break();
    let (kind, name) = words::split_once(DEVICE, "=").unwrap_or_default();
    json.field_str("kind", kind).line_break().key("devices").begin_array().begin_object().field_str("name", name);
    json.key("containerEdits").begin_object().key("hooks").begin_array();
    for (stage, entry) in [(plan.stage, &plan.start), ("poststop", &plan.stop)] {
        json.line_break().begin_object().field_str("hookName", stage);
        write_entry(&mut json, entry, words);
        json.end_object();
    }
    json.end_array().end_object().end_object().end_array().end_object().newline();
    json.into_bytes()
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
    /// The values of `imports`.
    pub imports: Vec<String>,
}

fn has(text: &str, part: &str) -> bool {
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
            in_cri = has(bare, "\"io.containerd.grpc.v1.cri\"") || has(bare, "'io.containerd.grpc.v1.cri'");
            main.has_runc |= in_cri && [".runtimes.runc]", "\"runc\"]", "'runc']"].iter().any(|name| has(bare, name));
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
            // What stands between quotes, of either kind.
            let mut rest = bare;
            while let Some(start) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\'')) {
                let (quote, behind) =
                    (rest.get(start..=start).unwrap_or_default(), rest.get(start + 1..).unwrap_or(""));
                let Some((path, behind)) = words::split_once(behind, quote) else { break };
                main.imports.push(path.to_owned());
                rest = behind;
            }
            in_imports = !has(bare, "]");
        }
    }
    main
}

/// The file that containerd imports. Version 2 (containerd 1.x) takes a plugin's tables of the file that comes last in
/// place of all others (containerd issue 5837; merged since 2.0): there what config.toml has of the CRI plugin is repeated.
pub fn containerd(main: &Main, version: u64, base: &str, words: &str) -> Vec<u8> {
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
    parts.concat().into_bytes()
}

/// What Kubernetes has to be told, for kubectl.
pub const RUNTIME_CLASS: &str = "\
    apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: runc-trace\nhandler: runc-trace\n";
