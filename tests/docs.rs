// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written about the program is held against the program: the texts of `--help`, the manual page, and the paths
//! that the documents name.
//!
//! The texts of `--help` are written in `src/cli/help/`; `tests/tables/generate` packs them for the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each `--help` there is, as the words in front of it; the first is the top level.
const HELPS: [&str; 30] = [
    "",
    "hook",
    "hook start",
    "hook stop",
    "run",
    "attach",
    "follow",
    "stop",
    "list",
    "report",
    "seccomp",
    "seccomp generate",
    "seccomp check",
    "seccomp diff",
    "seccomp denials",
    "hooks",
    "hooks install",
    "hooks print",
    "hooks remove",
    "core",
    "core install",
    "core uninstall",
    "core status",
    "core list",
    "core info",
    "core export",
    "core handle",
    "doctor",
    "gc",
    "serve",
];

/// Paths that documents name before the change that brings them is merged.
const COMING: [&str; 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn help(words: &str) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_ftrace-analyzer"))
        .args(words.split_ascii_whitespace())
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    assert!(done.status.success(), "{words} --help: {:?}", done.status);
    assert!(done.stderr.is_empty(), "{words} --help writes to standard error");
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.starts_with("Usage: "), "{words} --help: {text:?}");
    text
}

fn page() -> String {
    read(&root().join("docs/ftrace-analyzer.1"))
}

/// The lines of one `.SH` or `.SS` section of the manual page, without its heading.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let mut start = None;
    let mut at = 0;
    for line in page.split_inclusive('\n') {
        let is_heading = line.starts_with(".SH ") || line.starts_with(".SS ");
        if let Some(start) = start.filter(|_| is_heading) {
            return page.get(start..at);
        }
        at += line.len();
        let name = line.trim_end().split_once(' ').map(|(_, name)| name.trim_matches('"'));
        if is_heading && name == Some(heading) {
            start = Some(at);
        }
    }
    start.and_then(|start| page.get(start..))
}

/// The manual page's text as a reader sees it, as far as options go: no fonts, no escaped dashes.
fn plain(page: &str) -> String {
    let mut text = page.replace("\\-", "-");
    for font in ["\\fB", "\\fI", "\\fR", "\\fP", "\\&"] {
        text = text.replace(font, "");
    }
    text
}

/// Words like `--max-size` and `-o` in a text.
fn options(text: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    text.split(ends)
        .filter(|word| {
            let name = word.trim_start_matches('-');
            let dashes = word.len() - name.len();
            let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
            starts && (dashes == 2 || (dashes == 1 && name.len() == 1))
        })
        .map(str::to_owned)
        .collect()
}

/// Options that a verb's `--help` explains: the first column below `Options:`.
fn explained(help: &str) -> BTreeSet<String> {
    let part = help.split("\nOptions:\n").nth(1).unwrap_or_default();
    let part = part.split("\n\n").next().unwrap_or_default();
    let first = part.lines().filter(|line| line.starts_with("  -")).map(|line| match line.trim_start().find("  ") {
        Some(end) => &line[..end + 2],
        None => line,
    });
    options(&first.collect::<Vec<_>>().join("\n"))
}

/// Options that a section of the manual page explains: the tags of its list.
fn tagged(section: &str) -> BTreeSet<String> {
    let mut tags = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(".TP") || line.starts_with(".TQ") {
            tags.extend(lines.next());
        }
    }
    options(&plain(&tags.join("\n")))
}

#[test]
fn help_is_what_is_written() {
    let dir = root().join("src/cli/help");
    let mut names = BTreeSet::new();
    for words in HELPS {
        let name = if words.is_empty() { "top.txt".to_owned() } else { format!("{}.txt", words.replace(' ', "-")) };
        let path = dir.join(&name);
        assert_eq!(help(words), read(&path), "{}: run tests/tables/generate", path.display());
        names.insert(name);
    }
    let there = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), names, "files in src/cli/help that no verb has");
}

#[test]
fn every_verb_is_in_the_list_of_this_test() {
    for (words, text) in HELPS.map(|words| (words, help(words))) {
        let verbs = text.split("\nCommands:\n").nth(1).unwrap_or_default();
        let verbs = verbs.split("\n\n").next().unwrap_or_default();
        for verb in verbs.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let verb = verb.split_ascii_whitespace().next().unwrap();
            let whole = format!("{words} {verb}");
            assert!(HELPS.contains(&whole.trim()), "{whole}: add it to HELPS and to the manual page");
        }
    }
}

#[test]
fn every_help_has_options_two_examples_and_exit_codes() {
    for (words, text) in HELPS.map(|words| (words, help(words))) {
        assert!(text.contains("\nOptions:\n"), "{words}");
        let examples = text.split("\nExamples:\n").nth(1).unwrap_or_default();
        assert!(examples.lines().take_while(|line| !line.is_empty()).count() >= 2, "{words}: two examples");
        assert!(text.contains("\nError codes:\n"), "{words}: exit codes");
    }
}

#[test]
fn the_manual_page_has_the_options_of_each_help_and_no_others() {
    let page = page();
    let shared = section(&page, "Record options").expect("a section Record options");
    let mut everywhere = options(&plain(&help("")));
    for words in HELPS.into_iter().filter(|words| !["", "hook", "seccomp", "hooks", "core"].contains(words)) {
        let heading = words.to_owned();
        let part = section(&page, &heading).unwrap_or_else(|| panic!("the manual page has no section {heading}"));
        let mut have = tagged(part);
        if part.contains("Record options") {
            have.extend(tagged(shared));
        }
        let mut want = explained(&help(words));
        want.remove("--help");
        assert_eq!(have, want, "{words}: options of the manual page (left) and of --help (right)");
        everywhere.extend(want);
        // The line that the section begins with names the required and the positional ones, too.
        let usage = help(words);
        for word in usage.lines().next().unwrap().split(['[', ']', ' ']).filter(|word| word.starts_with('<')) {
            let name = word.trim_matches(['<', '>', '.']).to_uppercase();
            assert!(
                plain(part).to_uppercase().contains(&name) || shared.to_uppercase().contains(&name),
                "{words}: {word}"
            );
        }
    }
    everywhere.insert("-V".to_owned());
    // Other programs' options in examples stand in quotes of their own and are none of ours.
    let unknown: Vec<String> = options(&plain(&page)).difference(&everywhere).cloned().collect();
    assert!(unknown.is_empty(), "the manual page names options that no --help has: {unknown:?}");
}

#[test]
fn the_manual_page_names_every_variable_and_every_exit_code() {
    let page = plain(&page());
    for word in ["FTRACE_ANALYZER_DIR", "FTRACE_ANALYZER_RUN_DIR", "/run/ftrace-analyzer/hook.log"] {
        assert!(page.contains(word), "{word}");
    }
    let codes = section(&page, "EXIT STATUS").expect("a section EXIT STATUS");
    for code in ["0", "1", "2", "3", "4", "125", "126", "127"] {
        assert!(codes.lines().any(|line| line == format!(".B {code}")), "exit status {code}");
    }
}

/// The documents: README.md, where there is one, CHANGELOG.md and docs/*.md.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md"].into_iter().map(|name| root().join(name)).filter(|path| path.exists()).collect();
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found.sort();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// Targets of the links of a Markdown text that point into the repository, without their anchors.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    local.filter_map(|target| target.split('#').next()).map(str::to_owned).collect()
}

/// Paths in code spans that say by their first part that they are the repository's.
fn named_paths(text: &str) -> Vec<String> {
    // Odd parts lie between back ticks; the blocks between fences are not looked at.
    let mut outside = String::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            outside.push_str(part);
        }
    }
    let spans = outside.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let ours = ["src/", "docs/", "tests/", ".ci/", "cross/"];
    spans
        .into_iter()
        .flat_map(|span| span.split([' ', ',']).map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| ours.iter().any(|first| word.starts_with(first)) && !word.contains(['*', '<', '{', '…']))
        .collect()
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        let here = document.parent().unwrap();
        let mut check = |from: &Path, target: &str| {
            let path = from.join(target);
            let coming = COMING.iter().any(|coming| path.ends_with(coming));
            if !path.exists() && !coming {
                wrong.push(format!("{}: {target}", document.display()));
            }
        };
        links(&text).iter().for_each(|target| check(here, target));
        named_paths(&text).iter().for_each(|target| check(root(), target));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_stands_in_the_architecture() {
    let text = read(&root().join("docs/architecture.md"));
    for entry in std::fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        let named = if entry.is_dir() { format!("`src/{name}/") } else { format!("`src/{name}`") };
        assert!(text.contains(&named), "docs/architecture.md does not name src/{name}");
    }
}

#[test]
fn documents_begin_with_their_purpose_and_keep_to_their_width() {
    for document in documents() {
        let text = read(&document);
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{}", document.display());
        assert!(
            lines.find(|line| !line.is_empty()).is_some_and(|line| !line.starts_with('#')),
            "{}",
            document.display()
        );
        // Rows of tables cannot be broken.
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('|')) {
            let url = line.contains("://") || document.ends_with("README.md");
            assert!(url || line.chars().count() <= 120, "{}:{}", document.display(), number + 1);
        }
    }
}
