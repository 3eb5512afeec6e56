// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The order of the layers that src/lib.rs and docs/architecture.md tell, and what each layer does without, held by reading
//! the sources.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, lowest first. Within a layer modules may use one another, save where [`STRANGERS`] says otherwise.
const LAYERS: [&[&str]; 8] = [
    &["arch", "calendar", "error", "ids", "json", "record", "words"],
    &["format", "packed", "ringbuf", "syscalls"],
    &["proc", "sys", "tracefs"],
    &["oci", "recording", "tasks"],
    &["calls"],
    &["core_dump", "hooks", "recorder", "report", "seccomp"],
    &["serve"],
    &["cli"],
];

/// Who does not know whom, beyond the layers: the first never uses the second.
const STRANGERS: [(&str, &[&str]); 9] = [
    ("hooks", &["recorder", "report", "seccomp", "calls", "tasks", "recording", "tracefs"]),
    ("recorder", &["report", "seccomp", "calls", "tasks"]),
    // Reports read recordings, also those of other machines.
    ("report", &["recorder", "seccomp", "tracefs", "proc", "sys", "oci"]),
    ("seccomp", &["recorder", "report", "tracefs", "proc", "sys", "oci"]),
    ("calls", &["tracefs", "proc", "sys", "oci"]),
    ("tasks", &["tracefs", "proc", "sys", "oci"]),
    ("recording", &["tracefs", "proc", "oci", "tasks"]),
    ("oci", &["tracefs", "proc", "sys", "recording", "tasks"]),
    ("ringbuf", &["format", "syscalls"]),
];

/// Largest source file, bytes; beyond, it is to be split by concept.
const SIZE_MAX: usize = 20 << 10;

/// Tables made by a script.
const GENERATED: [&str; 9] = [
    "cli/help_table.rs",
    "syscalls/class_table.rs",
    "syscalls/table.rs",
    "syscalls/errno_table.rs",
    "syscalls/signal_table.rs",
    "syscalls/args_table.rs",
    "syscalls/sets_table.rs",
    "syscalls/spellings_table.rs",
    "syscalls/packed_table.rs",
];

struct Source {
    /// Below src/.
    name: String,
    text: String,
    /// Without comments, strings' contents and tests.
    code: String,
}

impl Source {
    fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }

    fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut dirs = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let code = strip(&text);
                found.push(Source { name, text, code });
            }
        }
    }
    assert!(found.len() > 50, "the sources are where they are looked for");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Code up to the first test module, without line comments and the insides of strings.
fn strip(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let mut code = String::new();
    let mut in_string = false;
    for line in text[..end].lines() {
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if !in_string && line[at + 1..].starts_with('\'') => {}
                '"' if before != '\\' => in_string = !in_string,
                '/' if !in_string && line[at..].starts_with("//") => break,
                _ if in_string => {}
                _ => code.push(c),
            }
            before = if before == '\\' && c == '\\' { ' ' } else { c };
        }
        code.push('\n');
    }
    assert!(!in_string, "this reader of strings is too simple for {}", &text[..end.min(200)]);
    code
}

/// Top-level modules that a piece of code names behind `crate::`, in groups too.
fn uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => {
                found.insert(word(rest));
            }
            Some(group) => {
                // `{a::{b, c}, d}`: the names at the first depth.
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if c.is_whitespace() => {}
                        _ if start && depth == 0 => {
                            found.insert(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.remove("");
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn a_module_uses_modules_of_its_own_and_lower_layers_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "lib" || module == "main" {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("{module} has no layer: add it to tests/layers.rs"));
        // Tests may be of any layer below theirs too, so their own part of the file is not looked at.
        for used in uses(&source.code) {
            // Macros and items of the crate's root have no layer.
            let Some(other) = layer(&used) else { continue };
            let stranger = STRANGERS.iter().any(|(who, whom)| *who == module && whom.contains(&used.as_str()));
            if used != module && (other > own || stranger) {
                wrong.push(format!("{} uses {used}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_module_list_is_in_layer_order() {
    let sources = sources();
    let lib = &sources.iter().find(|source| source.name == "lib.rs").unwrap().code;
    let listed = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let layers: Vec<usize> = listed.map(|name| layer(name).unwrap_or_else(|| panic!("{name} has no layer"))).collect();
    assert!(layers.windows(2).all(|pair| pair[0] <= pair[1]), "{layers:?}");
    assert_eq!(layers.len(), LAYERS.iter().map(|layer| layer.len()).sum::<usize>());
}

#[test]
fn only_sys_has_unsafe_code() {
    for source in sources() {
        let has = source.code.contains("unsafe ") || source.code.contains("allow(unsafe_code)");
        assert!(!has || source.module() == "sys", "{} has unsafe code", source.name);
    }
}

#[test]
fn pure_decoding_allocates_nothing_and_panics_nowhere() {
    let pure = |source: &&Source| layer(source.module()) == Some(1) && !source.is_test();
    // What it unpacks needs a place.
    for source in
        sources().iter().filter(pure).filter(|source| source.name != "packed.rs" && source.name != "syscalls/packed.rs")
    {
        for word in
            ["Vec<", "Vec::", "vec!", "String", "Box<", "Box::", "format!", "to_owned()", "to_string()", "std::"]
        {
            let at = source.code.match_indices(word).find(|(at, _)| {
                // heapless::Vec has its place in itself.
                let before = &source.code[..*at];
                !before.ends_with("heapless::") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            assert!(at.is_none(), "{} uses {word}", source.name);
        }
    }
    for source in sources().iter().filter(|source| !source.is_test() && source.name != "main.rs") {
        for word in [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!(", "println!("] {
            assert!(!source.code.contains(word), "{} has {word}", source.name);
        }
    }
}

/// std's ways to open a file have errors whose texts bring the tables of Unicode into the artefacts, five kilobytes.
#[test]
fn files_are_opened_by_sys_alone() {
    for source in sources().iter().filter(|source| !source.is_test()) {
        for word in ["OpenOptions", "File::open(", "File::create(", "File::options("] {
            let at = source.code.match_indices(word).find(|(at, _)| !source.code[..*at].ends_with("Meta"));
            assert!(at.is_none(), "{} has {word}, and there is sys::open", source.name);
        }
    }
}

#[test]
fn the_live_kernel_is_touched_by_its_layer_alone() {
    for source in sources().iter().filter(|source| layer(source.module()).is_some_and(|layer| layer != 2)) {
        for path in ["\"/sys/", "\"/proc/", "\"/proc\""] {
            // A socket's path through a descriptor of our own names no process.
            let text = source.text.split("#[cfg(test)]\nmod ").next().unwrap().replace("/proc/self/fd/", "");
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains(path));
            let found: Vec<&str> = lines.collect();
            assert!(found.is_empty(), "{}: {found:?}", source.name);
        }
    }
}

#[test]
fn every_file_says_its_licence_and_what_it_knows_and_is_small() {
    for source in sources() {
        let mut lines = source.text.lines();
        assert_eq!(lines.next(), Some("// SPDX-License-Identifier: Apache-2.0 OR MIT"), "{}", source.name);
        let says = lines.next().is_some_and(|line| line.starts_with("//! ") && line.len() > 10);
        assert!(says, "{} does not say what it knows", source.name);
        let size = source.text.len();
        assert!(size <= SIZE_MAX || GENERATED.contains(&source.name.as_str()), "{} has {size} bytes", source.name);
    }
}

#[test]
fn this_test_sees_what_it_looks_for() {
    let code = strip("use crate::{a::{b, c}, d}; // crate::no\nlet x = \"crate::no\"; crate::e::f();\n#[cfg(test)]\nmod t { crate::no }");
    assert_eq!(uses(&code).into_iter().collect::<Vec<_>>(), ["a", "d", "e"]);
    assert_eq!(strip("x(b'\"', \"s\\\"s\", y)"), "x(b'', , y)\n");
}
