// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state that a runtime writes to a hook: any bytes give a state that is safe to use in paths, or a sentence. The same
//! bytes as a config.json: hooks that are put in come out again and leave every byte as it was.
// max_len: 4096
#![no_main]

use ftrace_analyzer::hooks::edit::{insert, remove, Entry};
use ftrace_analyzer::ids::{ContainerId, CONTAINER_ID_MAX};
use ftrace_analyzer::oci::parse_state;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
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
            let _ = state.first_annotation(&["", "a"]);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 1000, "a sentence");
            assert!(!text.contains('\n'), "one line");
            assert!((1..=4).contains(&error.exit_code()));
        }
    }
    if let Ok((clean, was)) = remove(data) {
        assert!(was.is_some() || clean == data);
        let entry = Entry { path: "/f".into(), args: vec!["f".into()], env: vec![] };
        if let Ok(with) = insert(&clean, "prestart", &entry, &entry, "") {
            assert_eq!(remove(&with).map(|(text, _)| text).ok(), Some(clean));
        }
    }
});
