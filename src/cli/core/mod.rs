// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core …`: core dumps, and the handler that the kernel calls. Here the dump's side meets the recordings'.

mod calls;
mod export;
mod handle;
mod info;
mod install;
mod list;
mod whose;

pub use export::export;
pub use handle::handle;
pub use info::info;
pub use install::{install, status, uninstall};
pub use list::list;
