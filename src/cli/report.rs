// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `report`
use super::args::Report;
use super::{out, select};
use crate::error::{exit, Result};
use crate::recording::{Recording, Tail};
use std::path::Path;

pub fn write_text(_dir: &Path, _to: &Path) -> Result<()> {
    Ok(())
}

pub fn main(args: &Report) -> Result<u8> {
    let dir = select::find_recording(&args.dir, args.recording.as_deref())?;
    let recording = Recording::open(&dir)?;
    let mut stream = recording.stream(Tail::Use)?;
    let _ = stream.run(u64::MAX, |item| {
        out::note(&format!("{item:?}\n"));
        std::ops::ControlFlow::Continue(())
    })?;
    out::note(&format!("{:?}\n{:?}\n", stream.counts(), recording.conservation(&stream.counts())));
    Ok(exit::OK)
}
