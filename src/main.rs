// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The binary: everything is in the library.
fn main() {}
