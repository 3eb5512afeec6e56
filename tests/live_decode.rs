// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: our decode of this kernel's ring, now, says what the kernel's own text of the same ring says.
#![allow(clippy::unwrap_used)]

#[path = "common/captures.rs"]
mod captures;
#[path = "common/live.rs"]
mod live;

use live::Live;

#[test]
fn what_this_kernel_records_decodes_to_the_kernels_own_text() {
    let Some(live) = Live::new("what_this_kernel_records_decodes_to_the_kernels_own_text", &[]) else { return };
    let out = live.path("captures");
    std::fs::create_dir(&out).unwrap();
    let mut make = live.command(&format!("{}/tests/captures/make", live::SOURCE));
    make.args(["live", out.to_str().unwrap()]);
    live::run(make, b"").expect_code(0);
    let captures = captures::captures_in(&out);
    assert!(captures.len() >= 2, "plain and lossy, and subbuf64k where the kernel can");
    for capture in &captures {
        captures::check_text(capture);
        captures::check_read(capture);
        captures::check_missed(capture);
    }
}
