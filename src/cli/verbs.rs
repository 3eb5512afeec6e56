// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The verbs: their names, which options each takes, and which words.

use std::ffi::OsString;

use crate::error::{Error, Quoted, Result};
use crate::syscalls::nearest_of;
use crate::words;

/// What the program can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// None: only `--help` goes with it.
    Top,
    /// Without what the hook is to do.
    Hook,
    HookStart,
    HookStop,
    Run,
    Attach,
    Follow,
    Stop,
    List,
    Report,
    /// Without what is to be done about profiles.
    Seccomp,
    SeccompGenerate,
    SeccompCheck,
    SeccompDiff,
    SeccompDenials,
    /// Without what is to be done about hooks.
    Hooks,
    HooksInstall,
    HooksPrint,
    HooksRemove,
    Core,
    CoreInstall,
    CoreUninstall,
    CoreStatus,
    CoreHandle,
    CoreList,
    CoreInfo,
    CoreExport,
    Doctor,
    Gc,
    Serve,
}

/// The word of a verb whose words from the first that is no option on are another program's command line.
pub const COMMAND: &str = "[command...]";

/// The options of what is recorded.
macro_rules! record {
    ($more:literal) => {
        concat!(
            "--mode --buffer-size-kb --max-size --max-age --name --strings --data --dir --syscalls --errors-only",
            $more
        )
    };
}

/// The options of hooks that are to be called.
const HOOKS: &str = record!(
    " --if-annotation --strict --report --seccomp --runtime --stage --always --binary --into --root --base --format \
     --force --json"
);

/// What is to be known of a verb to read its words.
pub struct Grammar {
    pub verb: Verb,
    /// As it is written.
    pub name: &'static str,
    /// The options it takes, separated by blanks.
    pub options: &'static str,
    /// Its words, as the usage line has them, in brackets where they may be left out; empty if there is none.
    pub word: &'static str,
}

impl Grammar {
    /// How many words must be there.
    pub fn needs(&self) -> usize {
        self.word.split(' ').filter(|word| word.starts_with('<')).count()
    }
}

const fn row(verb: Verb, name: &'static str, options: &'static str, word: &'static str) -> Grammar {
    Grammar { verb, name, options, word }
}

/// All of them. `tests/tables/generate` puts the texts of `src/cli/help/` in this order.
pub static VERBS: [Grammar; 30] = [
    row(Verb::Top, "", "", ""),
    row(Verb::Hook, "hook", "", ""),
    row(Verb::HookStart, "hook start", record!(" --if-annotation --strict"), ""),
    row(Verb::HookStop, "hook stop", "--report --seccomp --dir --strict", ""),
    row(Verb::Run, "run", record!(" --output --color --quiet"), COMMAND),
    row(Verb::Attach, "attach", record!(" --follow --color"), "<target>"),
    row(Verb::Follow, "follow", "--with-runtime --color", "<id>"),
    row(Verb::Stop, "stop", "", "<id>"),
    row(Verb::List, "list", "--json --dir", "[<recording>]"),
    row(
        Verb::Report,
        "report",
        "--format --json --output --syscalls --errors-only --pid --comm --since --until --min-duration \
         --container-only --with-runtime --merge-log --color --dir",
        "[<recording>]",
    ),
    row(Verb::Seccomp, "seccomp", "", ""),
    row(
        Verb::SeccompGenerate,
        "seccomp generate",
        "--runtime --no-new-privileges --portable --base --format --name --args --force --why --output --json --dir",
        "[<recording>...]",
    ),
    row(
        Verb::SeccompCheck,
        "seccomp check",
        "--runtime --no-new-privileges --json --dir",
        "<profile> [<recording>...]",
    ),
    row(Verb::SeccompDiff, "seccomp diff", "--json", "<profile> <profile>"),
    row(Verb::SeccompDenials, "seccomp denials", "--json --dir", "[<recording>]"),
    row(Verb::Hooks, "hooks", "", ""),
    row(Verb::HooksInstall, "hooks install", HOOKS, "[<bundle>]"),
    row(Verb::HooksPrint, "hooks print", HOOKS, "[<bundle>]"),
    row(Verb::HooksRemove, "hooks remove", "--runtime --into --root --json", "[<bundle>]"),
    row(Verb::Core, "core", "", ""),
    row(
        Verb::CoreInstall,
        "core install",
        "--max-size --max-container --max-total --keep-free --keep --max-age --environment --copy-to --persistent \
         --force --binary --dir --json",
        "",
    ),
    row(Verb::CoreUninstall, "core uninstall", "--json", ""),
    row(Verb::CoreStatus, "core status", "--json", ""),
    row(Verb::CoreHandle, "core handle", "", "[<number>...]"),
    row(Verb::CoreList, "core list", "--since --json --dir", "[<container>]"),
    row(Verb::CoreInfo, "core info", "--calls --json --dir", "[<core>]"),
    row(Verb::CoreExport, "core export", "--output --dir", "[<core>]"),
    row(Verb::Doctor, "doctor", "--json --dir", ""),
    row(Verb::Gc, "gc", "--max-total --max-age --dir", ""),
    row(Verb::Serve, "serve", "--listen --group --recordings --max-total --max-size --buffer-size-kb --dir", ""),
];

fn of(verb: Verb) -> &'static Grammar {
    VERBS.iter().find(|row| row.verb == verb).unwrap_or(&VERBS[0])
}

/// Finds the verb that the arguments begin with, and how many words its name has.
pub fn find(arguments: &[OsString]) -> Result<(&'static Grammar, usize)> {
    let Some(first) = arguments.first() else { return Ok((of(Verb::Top), 0)) };
    let name = first.to_str().unwrap_or_default();
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        let error = Error::usage(format!("there is no command {}", Quoted(&first.to_string_lossy())));
        return Err(match nearest_of(name, &mut VERBS.iter().map(|verb| verb.name)) {
            Some(near) => error.hint(["did you mean ", near, "?"].concat()),
            _ => error.hint("--help tells what there is"),
        });
    };
    // A word that names a group, and the one behind it.
    if matches!(verb.verb, Verb::Hook | Verb::Seccomp | Verb::Hooks | Verb::Core) {
        let second = arguments.get(1).and_then(|word| word.to_str()).unwrap_or_default();
        let of_group = VERBS.iter().find(|known| words::split_once(known.name, " ") == Some((name, second)));
        return Ok(of_group.map_or((verb, 1), |verb| (verb, 2)));
    }
    Ok((verb, 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::args::{read, NAMES};
    use crate::cli::help;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split_ascii_whitespace().map(OsString::from).collect()
    }

    /// The options that a help explains, without `--help`: the long names, and the short ones.
    fn explained(verb: Verb) -> (BTreeSet<String>, Vec<String>) {
        let text = String::from_utf8(help::text(verb)).unwrap();
        let part = text.split("\nOptions:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
        let (mut long, mut short) = (BTreeSet::new(), Vec::new());
        for word in part.lines().filter(|line| line.starts_with("  -")).flat_map(str::split_ascii_whitespace) {
            let word = word.trim_end_matches(',');
            match word.strip_prefix("--") {
                Some("help") => {}
                Some(_) => drop(long.insert(word.to_owned())),
                None if word.starts_with('-') && word.len() == 2 => short.push(word.to_owned()),
                None => {}
            }
        }
        (long, short)
    }

    #[test]
    fn each_verb_takes_the_options_that_its_help_explains_and_refuses_the_others() {
        for grammar in &VERBS {
            let (long, short) = explained(grammar.verb);
            let taken: BTreeSet<String> = grammar.options.split_ascii_whitespace().map(str::to_owned).collect();
            assert_eq!(taken, long, "{}", grammar.name);
            for option in NAMES.split(' ').chain(short.iter().map(|name| &**name)) {
                let is_taken = long.contains(option) || short.iter().any(|name| name == option);
                // A word that it needs, and the value of an option that has one.
                let word = "word ".repeat(grammar.needs());
                let words = ["", " 1"].map(|value| arguments(&(word.clone() + option + value)));
                let good = words.iter().filter(|words| read(grammar, words).is_ok()).count();
                assert!(if is_taken { good >= 1 } else { good == 0 }, "{} {option}", grammar.name);
            }
        }
    }

    #[test]
    fn verbs_are_found_by_their_names_and_others_have_a_near_one() {
        for grammar in &VERBS {
            let (found, skip) = find(&arguments(grammar.name)).unwrap();
            assert_eq!((found.verb, skip), (grammar.verb, grammar.name.split_ascii_whitespace().count()));
        }
        assert_eq!(find(&arguments("reprot")).map(|_| ()).unwrap_err().remedy(), Some("did you mean report?"));
        assert!(find(&arguments("frobnicate")).is_err());
        assert!(find(&arguments("--json report")).is_err());
    }
}
