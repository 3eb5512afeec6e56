// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What several test programs share. Each uses a part of it, hence the allowed dead code.
#![allow(dead_code, clippy::unwrap_used)]

pub mod rng;
pub mod synth;
