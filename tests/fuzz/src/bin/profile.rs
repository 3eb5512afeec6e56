// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A seccomp profile from a file: any bytes give a profile with an answer for every call, or a sentence.
// max_len: 4096
#![no_main]

use ftrace_analyzer::arch::{Abi, Arch};
use ftrace_analyzer::json::Json;
use ftrace_analyzer::seccomp::runtimes::Runtime;
use ftrace_analyzer::seccomp::{Diff, Effects, Machine, Profile, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let profile = match Profile::parse(data, "the profile") {
        Ok(profile) => profile,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "one line");
            return assert_eq!(error.exit_code(), 1);
        }
    };
    // What is written reads back to the same.
    let mut json = Json::new();
    profile.write(&mut json);
    let again = Profile::parse(json.as_bytes(), "what was written").unwrap();
    let mut twice = Json::new();
    again.write(&mut twice);
    assert_eq!(json.as_bytes(), twice.as_bytes());
    for arch in [Arch::X86_64, Arch::Aarch64, Arch::Arm] {
        for runtime in [Runtime::Any, Runtime::Runc, Runtime::None] {
            let Ok(effects) = Effects::new(&profile, &Machine::usual(arch, runtime), "the profile") else { continue };
            for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
                for nr in [-1, 0, 41, 56, 102, 120, 220, 0xf0005, i32::MIN, i32::MAX] {
                    let alone = effects.verdict(abi, nr, None);
                    for args in [[0; 6], [1; 6], [u64::MAX; 6]] {
                        let with = effects.verdict(abi, nr, Some(&args));
                        assert!(with == alone || alone == Verdict::Depends);
                    }
                }
            }
        }
    }
    // A profile that loads does what it does.
    if let Ok(diff) = Diff::of([&profile, &profile], ["a", "b"]) {
        assert!(diff.is_same());
    }
});
