// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The unwinder of the static artefacts: a stack without frames. std's backtrace asks for three functions of a `libunwind`;
//! the artefact has no unwind tables to answer from. cross/build makes `libunwind.a` of this, with no crate at all beneath
//! it (hence `no_core`: the target's `core` is not built yet). Source: the Itanium C++ ABI, "Level I", and for
//! `_Unwind_VRS_Get` the Exception Handling ABI for the Arm Architecture.

#![feature(no_core, rustc_attrs, decl_macro)]
#![allow(internal_features)]
#![no_core]
#![crate_type = "lib"]

#[rustc_builtin_macro]
macro global_asm() {}

/// Defines the functions: each takes the instructions that return the code.
#[rustfmt::skip]
macro_rules! functions {
    ($end:literal, $zero:literal) => {
        global_asm!(
            ".globl _Unwind_Backtrace, _Unwind_GetIP, _Unwind_VRS_Get",
            ".type _Unwind_Backtrace, %function; .type _Unwind_GetIP, %function; .type _Unwind_VRS_Get, %function",
            // _URC_END_OF_STACK; on Arm std reads every code but 0 as "no more frames".
            "_Unwind_Backtrace:", $end,
            // Of a frame, and there is none.
            "_Unwind_GetIP:", "_Unwind_VRS_Get:", $zero,
        );
    };
}

#[cfg(target_arch = "aarch64")]
functions!("mov w0, #5\nret", "mov w0, #0\nret");
#[cfg(target_arch = "arm")]
functions!("mov r0, #5\nbx lr", "mov r0, #0\nbx lr");
#[cfg(target_arch = "x86_64")]
functions!("mov eax, 5\nret", "xor eax, eax\nret");
