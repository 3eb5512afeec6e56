// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state that a runtime writes to a hook: any bytes give a state that is safe to use in paths, or a sentence, and
//! names of a pod that are safe to print. The same
//! bytes as a config.json: hooks that are put in come out again and leave every byte as it was.
//! And as what a user writes to root's helper: a request within the limits, or a sentence.
// max_len: 4096
#![no_main]

use ftrace_analyzer::hooks::edit::{insert, remove, Entry};
use ftrace_analyzer::ids::{ContainerId, CONTAINER_ID_MAX};
use ftrace_analyzer::oci::parse_state;
use ftrace_analyzer::oci::pod::place;
use ftrace_analyzer::error::{Error, Result};
use ftrace_analyzer::serve::{parse, Limits};
use libfuzzer_sys::fuzz_target;

fn is_sentence(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 1000, "a sentence");
    assert!(!text.contains('\n'), "one line");
    assert!((1..=4).contains(&error.exit_code()));
}

/// What the helper takes from a request before it looks at processes.
fn request(data: &[u8]) -> Result<()> {
    let limits = Limits { dir: "/d".into(), buffer_size_kb: 4096, max_size: 1 << 28, max_total: 1 << 30, recordings: 8 };
    let mut request = parse(data)?;
    let id = request.id()?;
    let options = request.options(&limits)?;
    assert!(!id.as_str().contains(['/', '\0', '\n', ' ']) && !id.as_str().starts_with(['.', '-']));
    assert!((1..=limits.max_size).contains(&options.max_size) && options.buffer_size_kb.unwrap_or(1) <= 4096);
    assert!(options.dir == limits.dir && options.data <= 512);
    assert!(options.name.is_none_or(|name| name.len() <= 200 && !name.contains(char::is_control)));
    // What the hook makes of it is read as the same again.
    assert_eq!(parse(&request.to_json())?, request);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    if let Err(error) = request(data) {
        is_sentence(&error);
    }
    match parse_state(data) {
        Ok(state) => {
            let id = state.id.as_str();
            assert!(!id.is_empty() && id.len() <= CONTAINER_ID_MAX && !id.contains(['/', '\0', '\n', ' ']));
            assert!(!id.starts_with(['.', '-']));
            assert_eq!(ContainerId::new(id), Ok(state.id.clone()));
            assert!(state.pid.map_or(true, |pid| pid > 0));
            // Nothing grows: every text of the state stands in the input, escaped or not.
            let texts = [&state.status, &state.bundle].into_iter();
            let all = texts.chain(state.annotations.iter().flat_map(|(key, value)| [key, value]));
            assert!(all.map(|text| text.len()).sum::<usize>() <= data.len());
            for (key, _) in &state.annotations {
                assert!(state.annotation(key).is_some());
            }
            let place = place(&state.annotations);
            assert!(place.texts.iter().all(|text| text.len() <= 512 && !text.contains(char::is_control)));
        }
        Err(error) => is_sentence(&error),
    }
    if let Ok((clean, was)) = remove(data) {
        assert!(was.is_some() || clean == data);
        let entry = Entry { path: "/f".into(), args: vec!["f".into()], env: vec![] };
        if let Ok(with) = insert(&clean, "prestart", &entry, &entry, "") {
            assert_eq!(remove(&with).map(|(text, _)| text).ok(), Some(clean));
        }
    }
});
