// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the header of a sub-buffer is laid out on the kernel that wrote it.
//!
//! Read from `instances/NAME/events/header_page` (the instance's own file: the top-level one does not follow a changed
//! sub-buffer size). Known shapes: 64-bit `commit` 8 bytes, data at 16; 32-bit `commit` 4 bytes, data at 12.
//! Source: kernel/trace/ring_buffer.c `ring_buffer_print_page_header`.

/// Smallest sub-buffer accepted, in bytes: smaller than any page size Linux has.
pub const SUBBUF_MIN: usize = 256;

/// Largest sub-buffer accepted, in bytes: the kernel allows 128 pages (`buffer_subbuf_size_write`), and pages have up to
/// 64 KiB on arm64. The bound keeps a damaged recording from making the reader allocate at will.
pub const SUBBUF_MAX: usize = 8 << 20;

/// Offsets and sizes of a sub-buffer's header, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    /// Size of the `commit` word, which is the kernel's `long`: 4 or 8.
    pub commit_size: u8,
    /// Offset of the `commit` word.
    pub commit_offset: u16,
    /// Offset of the first record.
    pub data_offset: u16,
    /// Room for records behind [`PageLayout::data_offset`].
    pub data_size: u32,
}

/// Why a layout cannot be one of a Linux kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// `commit` is neither 4 nor 8 bytes wide.
    CommitSize(u32),
    /// The fields overlap or lie outside the header.
    Offsets,
    /// The sub-buffer is smaller than [`SUBBUF_MIN`] or larger than [`SUBBUF_MAX`]; its size in bytes.
    SubbufSize(u64),
}

impl PageLayout {
    /// The layout of 64-bit kernels with 4 KiB sub-buffers, which most recordings have.
    pub const LONG64_4K: PageLayout = PageLayout { commit_size: 8, commit_offset: 8, data_offset: 16, data_size: 4080 };

    /// Checks that the values describe a header of 8 bytes time stamp, then `commit`, then data.
    pub fn new(commit_offset: u32, commit_size: u32, data_offset: u32, data_size: u32) -> Result<Self, LayoutError> {
        if commit_size != 4 && commit_size != 8 {
            return Err(LayoutError::CommitSize(commit_size));
        }
        if commit_offset < 8 || data_offset > 64 || commit_offset.saturating_add(commit_size) > data_offset {
            return Err(LayoutError::Offsets);
        }
        let total = u64::from(data_offset) + u64::from(data_size);
        if total < SUBBUF_MIN as u64 || total > SUBBUF_MAX as u64 {
            return Err(LayoutError::SubbufSize(total));
        }
        Ok(PageLayout {
            commit_size: commit_size as u8,
            commit_offset: commit_offset as u16,
            data_offset: data_offset as u16,
            data_size,
        })
    }

    /// Size of a whole sub-buffer in bytes, header included.
    pub fn subbuf_size(&self) -> usize {
        usize::from(self.data_offset) + self.data_size as usize
    }

    /// Size of the kernel's `long` in bytes: 4 or 8.
    pub fn long_size(&self) -> u8 {
        self.commit_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_real_kernels_are_accepted() {
        assert_eq!(PageLayout::new(8, 8, 16, 4080), Ok(PageLayout::LONG64_4K));
        assert_eq!(PageLayout::new(8, 8, 16, 65520).map(|l| l.subbuf_size()), Ok(65536));
        assert_eq!(PageLayout::new(8, 8, 16, (8 << 20) - 16).map(|l| l.subbuf_size()), Ok(SUBBUF_MAX));
        assert_eq!(PageLayout::new(8, 4, 12, 4084).map(|l| (l.subbuf_size(), l.long_size())), Ok((4096, 4)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(PageLayout::new(8, 2, 16, 4080), Err(LayoutError::CommitSize(2)));
        assert_eq!(PageLayout::new(4, 8, 16, 4080), Err(LayoutError::Offsets));
        assert_eq!(PageLayout::new(8, 8, 12, 4080), Err(LayoutError::Offsets));
        assert_eq!(PageLayout::new(8, 8, 16, 0), Err(LayoutError::SubbufSize(16)));
        assert_eq!(PageLayout::new(8, 8, 16, (8 << 20) - 15), Err(LayoutError::SubbufSize((8 << 20) + 1)));
        assert_eq!(PageLayout::new(8, 8, 16, u32::MAX), Err(LayoutError::SubbufSize(16 + u64::from(u32::MAX))));
    }
}
