// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our hooks put into the text of a config.json, and taken out again, with every other byte left as it is.
//!
//! The text is somebody else's: order, numbers, escapes, indentation, line ends and members that we do not know stay. So it
//! is not written anew: pieces without blanks of their own are put in at byte offsets. What had to be made for them (the
//! member `hooks`, an array) stands in the mark that each of our entries carries, and goes with the last of them. So taking
//! out gives the bytes back that were there before, and the same in meaning where somebody has laid the text out anew.
//!
//! Ours is last of its stage: hooks of others before it that fail keep the container from starting with no recorder there
//! yet (crun runs no `poststop` then), and what they do in the container's namespaces is not taken for its own. Of `poststop`
//! ours is first: runc leaves out those behind one that fails. Source: runtime-spec config.md "POSIX-platform Hooks".

use crate::error::{Error, Result};
use crate::json::Json;
use crate::record::Parser;
use crate::words;

/// The variable in the environment of our entries by which they are known again. Its value is a version of ours, and words
/// that say what was made for the entry. Nothing reads it at run time.
pub const MARK: &str = "FTRACE_ANALYZER_HOOKS=";

/// Ours, without the words.
macro_rules! marked {
    () => {
        concat!("FTRACE_ANALYZER_HOOKS=", env!("CARGO_PKG_VERSION"))
    };
}
pub(crate) use marked;

/// Our entries in one text, at most: one of each stage and version would be a dozen.
const OURS_MAX: usize = 64;

/// The stages that an entry of ours may be in.
const STAGES: [&str; 3] = ["prestart", "createRuntime", "poststop"];

/// What is executed, and with what.
#[derive(Debug, Default)]
pub struct Entry {
    /// The program.
    pub path: String,
    /// Its arguments, its name first.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
}

/// A member of an object or an element of an array: offsets in the text.
#[derive(Clone, Copy)]
struct Item {
    start: usize,
    value: usize,
    end: usize,
    /// Where the one before it ends.
    before: Option<usize>,
}

/// The version in a mark and the words behind it, in any text that holds one.
pub fn mark_of(text: &[u8]) -> Option<&str> {
    let mut rest = text;
    loop {
        let at = rest.iter().position(|byte| *byte == b'F')?;
        rest = rest.get(at..)?;
        if let Some(mark) = rest.strip_prefix(MARK.as_bytes()) {
            let end =
                mark.iter().position(|byte| !matches!(byte, b' ' | b'+'..=b'.' | b'0'..=b'9' | b'=' | b'a'..=b'z'));
            return core::str::from_utf8(mark.get(..end.unwrap_or(mark.len()))?).ok();
        }
        rest = rest.get(1..)?;
    }
}

/// An error about a place in the text.
fn wrong(text: &[u8], at: usize, why: &str) -> Error {
    let (mut line, mut column) = (1, 1);
    for byte in text.get(..at).unwrap_or(text) {
        column += 1;
        if *byte == b'\n' {
            (line, column) = (line + 1, 1);
        }
    }
    Error::malformed([why, " at line ", &line.to_string(), ", column ", &column.to_string()].concat(), None)
}

/// Shows what an object or array at an offset has, with the names of an object's members.
fn each(text: &[u8], at: usize, visit: &mut dyn FnMut(&str, Item)) -> Result<()> {
    let mut parser = Parser::new(text, at);
    let mut read = || {
        let is_object = parser.takes(b"{");
        if !is_object && !parser.takes(b"[") {
            return None;
        }
        let close: &[u8] = if is_object { b"}" } else { b"]" };
        let mut before = None;
        if parser.takes(close) {
            return Some(());
        }
        loop {
            let mut name = String::new();
            parser.peek();
            let start = parser.at;
            if is_object {
                parser.string(&mut name)?;
                if !parser.takes(b":") {
                    return None;
                }
                parser.peek();
            }
            let value = parser.at;
            parser.skip()?;
            let end = parser.at;
            visit(&name, Item { start, value, end, before });
            before = Some(end);
            if !parser.takes(b",") {
                return parser.takes(close).then_some(());
            }
        }
    };
    match read() {
        Some(()) => Ok(()),
        None => Err(wrong(text, parser.at, "this is not the JSON expected")),
    }
}

/// A member by its name. Runtimes in Go take names in any case and of duplicates the last, those in C do not: such a text
/// means different things, so it is none of which we could say what comes of a change.
fn member(text: &[u8], object: usize, name: &str) -> Result<Option<Item>> {
    let (mut found, mut odd) = (None, None);
    each(text, object, &mut |is, item| {
        if is.eq_ignore_ascii_case(name) {
            if found.is_some() || is != name {
                odd = Some(item.start);
            }
            found = Some(item);
        }
    })?;
    match odd {
        Some(at) => Err(wrong(text, at, &["\"", name, "\" stands twice, or in capitals,"].concat())),
        None => Ok(found),
    }
}

/// The text with what stands between two offsets replaced.
fn replace(text: &[u8], from: usize, to: usize, by: &[u8]) -> Vec<u8> {
    [text.get(..from).unwrap_or_default(), by, text.get(to..).unwrap_or_default()].concat()
}

/// The text without an item, and without the comma that goes with it.
fn cut(text: &[u8], item: Item) -> Vec<u8> {
    let mut parser = Parser::new(text, item.end);
    match item.before {
        _ if parser.takes(b",") => replace(text, item.start, parser.at, b""),
        Some(before) => replace(text, before, item.end, b""),
        None => replace(text, item.start, item.end, b""),
    }
}

/// Puts a piece into an object or array, in front of the others or behind them.
fn put(text: &[u8], container: usize, last: bool, piece: &[u8]) -> Result<Vec<u8>> {
    let mut end = None;
    each(text, container, &mut |_, item| end = Some(item.end))?;
    Ok(match end {
        Some(end) if last => replace(text, end, end, &[b",", piece].concat()),
        _ => {
            let first = container + 1;
            replace(text, first, first, &[piece, if end.is_some() { b"," } else { b"" }].concat())
        }
    })
}

/// Where the outermost object begins; the whole text must be JSON.
fn root(text: &[u8]) -> Result<usize> {
    let mut parser = Parser::new(text, 0);
    let is_object = parser.peek() == b'{';
    let root = parser.at;
    if !is_object || parser.skip().is_none() || (parser.peek(), parser.at) != (0, text.len()) {
        return Err(wrong(text, parser.at, "this is not the JSON expected"));
    }
    Ok(root)
}

/// Where the value of a member is, which is made if it is not there, and what of it is new: nothing, ` NAME` or ` NAME=null`.
fn made(text: &mut Vec<u8>, object: usize, name: &str, empty: &str, word: &str) -> Result<(usize, String)> {
    let Some(item) = member(text, object, name)? else {
        let piece = ["\"", name, "\":", empty].concat();
        *text = put(text, object, false, piece.as_bytes())?;
        return Ok((object + 1 + piece.len() - empty.len(), word.to_owned()));
    };
    match text.get(item.value) {
        Some(first) if empty.as_bytes().first() == Some(first) => Ok((item.value, String::new())),
        Some(b'n') => {
            *text = replace(text, item.value, item.end, empty.as_bytes());
            Ok((item.value, [word, "=null"].concat()))
        }
        _ => Err(is_other(text, item, name)),
    }
}

fn is_other(text: &[u8], item: Item, name: &str) -> Error {
    wrong(text, item.value, &["\"", name, "\" is not what it should be"].concat())
}

/// The members of an entry of ours as JSON. `words` are for its mark.
pub fn members(entry: &Entry, words: &str) -> String {
    let mut json = Json::new();
    json.field_str("path", &entry.path).key("args").begin_array();
    for arg in &entry.args {
        json.string(arg);
    }
    json.end_array().key("env").begin_array().string(&[marked!(), words].concat());
    for variable in &entry.env {
        json.string(variable);
    }
    json.end_array();
    String::from_utf8(json.into_bytes()).unwrap_or_default()
}

/// Puts our entries in: `start` into `stage` and `stop` into `poststop`. Those that are there already must have been taken
/// out. `words` come into their marks.
pub fn insert(text: &[u8], stage: &str, start: &Entry, stop: &Entry, words: &str) -> Result<Vec<u8>> {
    let root = root(text)?;
    let mut text = text.to_vec();
    let (hooks, of_hooks) = made(&mut text, root, "hooks", "{}", " hooks")?;
    for (stage, entry, last) in [("poststop", stop, false), (stage, start, true)] {
        let (array, of_stage) = made(&mut text, hooks, stage, "[]", " stage")?;
        let piece = ["{", &members(entry, &[words, &of_hooks, &of_stage].concat()), "}"].concat();
        text = put(&text, array, last, piece.as_bytes())?;
    }
    Ok(text)
}

/// The first entry of ours: its stage, itself, its mark.
fn ours(text: &[u8]) -> Result<Option<(&'static str, Item, String)>> {
    let Some(hooks) = member(text, root(text)?, "hooks")?.filter(|hooks| text.get(hooks.value) == Some(&b'{')) else {
        return Ok(None);
    };
    let mut found = None;
    for stage in STAGES {
        let Some(array) = member(text, hooks.value, stage)? else { continue };
        match text.get(array.value) {
            Some(b'[') => each(text, array.value, &mut |_, item| {
                let mark = text.get(item.value..item.end).and_then(mark_of);
                if let Some(mark) = mark.filter(|_| found.is_none()) {
                    found = Some((stage, item, mark.to_owned()));
                }
            })?,
            Some(b'n') => {}
            _ => return Err(is_other(text, array, stage)),
        }
    }
    Ok(found)
}

/// Takes a container away that has become empty, as the mark says of what it was before.
fn undo(text: Vec<u8>, item: Item, mark: &str, word: &str) -> Vec<u8> {
    let mut empty = Parser::new(&text, item.value + 1);
    if !matches!(empty.peek(), b'}' | b']') {
        return text;
    }
    let mut words = mark;
    while let Some(next) = words::next(&mut words) {
        match next.strip_prefix(word) {
            Some("") => return cut(&text, item),
            Some("=null") => return replace(&text, item.value, item.end, b"null"),
            _ => {}
        }
    }
    text
}

/// Takes our entries out; gives the mark that the first of them had, too.
pub fn remove(text: &[u8]) -> Result<(Vec<u8>, Option<String>)> {
    let root = root(text)?;
    let mut text = text.to_vec();
    let mut first = None;
    for _ in 0..OURS_MAX {
        let Some((stage, item, mark)) = ours(&text)? else { return Ok((text, first)) };
        text = cut(&text, item);
        for (stage, word) in [(Some(stage), "stage"), (None, "hooks")] {
            let Some(mut item) = member(&text, root, "hooks")? else { continue };
            if let Some(stage) = stage {
                let Some(array) = member(&text, item.value, stage)? else { continue };
                item = array;
            }
            text = undo(text, item, &mark, word);
        }
        first = first.or(Some(mark));
    }
    Err(Error::limit("there are too many hooks of ours", OURS_MAX as u64))
}
