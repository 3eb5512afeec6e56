// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What OCI runtimes and the engines above them tell us, and how leniently it must be read.

mod config;
pub mod pod;
mod state;

pub use config::{parse_config, Config, CONFIG_MAX};
pub use state::{parse_state, State, STATE_MAX};
