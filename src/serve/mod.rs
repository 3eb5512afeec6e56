// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings for users without privileges: a helper of root's, asked through a socket, which becomes the recorder.
//!
//! A hook that may not use tracefs sends one request and gets one answer. All of a request is the user's word and is checked
//! against what the kernel says of him and of the process he names; what he may have is what he could trace by himself.
//! Why each check is there, and what is not protected from: docs/security.md.

mod client;
mod helper;
mod request;

pub use client::{ask, is_there, socket_path};
pub use helper::{listen, serve_one, Limits};
pub use request::{parse, Request, REQUEST_MAX};
