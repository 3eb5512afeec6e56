// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The heap of the static binaries: a list of free blocks for each power of two, carved from mappings, and a mapping for
//! each large block. A tenth of the code of musl's, which is made for threads and hostile programs; what is freed serves
//! blocks of the same class again, so that a process which does the same again and again does not grow.
//!
//! Only a program without threads may have it: [`c_main!`](crate::c_main) puts it in, tests have their C library's.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

use nix::libc;

/// Smallest block, as a power of two; also the alignment of all blocks, and the room before those of C.
const SMALLEST: u32 = 4;
/// Blocks above this power of two have a mapping of their own.
const LARGEST: u32 = 15;
/// What is mapped at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// The allocator.
#[derive(Debug)]
pub struct Heap(UnsafeCell<State>);

#[derive(Debug)]
struct State {
    /// By class: the first free block, which begins with the address of the next.
    free: [*mut u8; (LARGEST - SMALLEST + 1) as usize],
    /// What is left of the last chunk.
    left: usize,
    chunk: *mut u8,
}

// SAFETY: the program has one thread, and no signal handler of ours allocates.
unsafe impl Sync for Heap {}

/// The class of a block, and none for what has a mapping of its own.
fn class(layout: Layout) -> Option<usize> {
    let power = layout.size().max(1).next_power_of_two().trailing_zeros().max(SMALLEST);
    (power <= LARGEST && layout.align() <= 1 << SMALLEST).then_some((power - SMALLEST) as usize)
}

/// The same but for the unit of the offset, which is 0 here.
#[cfg(target_pointer_width = "64")]
const SYS_MMAP: libc::c_long = libc::SYS_mmap;
#[cfg(not(target_pointer_width = "64"))]
const SYS_MMAP: libc::c_long = libc::SYS_mmap2;

/// What mmap(2) and its like gave; null where they failed.
fn pointer(at: libc::c_long) -> *mut u8 {
    if at == -1 {
        return ptr::null_mut();
    }
    at as *mut u8
}

fn map(size: usize) -> *mut u8 {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which is nobody else's.
    let at = unsafe { libc::syscall(SYS_MMAP, 0usize, size, rights, flags, -1, 0usize) };
    pointer(at)
}

impl Heap {
    /// One without a block.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        let free = [ptr::null_mut(); (LARGEST - SMALLEST + 1) as usize];
        Heap(UnsafeCell::new(State { free, left: 0, chunk: ptr::null_mut() }))
    }

    /// malloc(3): a block that knows its size.
    ///
    /// # Safety
    ///
    /// As [`GlobalAlloc::alloc`].
    pub unsafe fn c_alloc(&self, size: usize) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(size.saturating_add(1 << SMALLEST), 1 << SMALLEST) else {
            return ptr::null_mut();
        };
        // SAFETY: the layout has a size; the block has room for the size before what is given out.
        unsafe {
            let block = self.alloc_zeroed(layout);
            if block.is_null() {
                return block;
            }
            block.cast::<usize>().write(layout.size());
            block.add(1 << SMALLEST)
        }
    }

    /// free(3) of what [`Heap::c_alloc`] gave.
    ///
    /// # Safety
    ///
    /// It is null or came from there, and is not freed yet.
    pub unsafe fn c_free(&self, block: *mut u8) {
        if block.is_null() {
            return;
        }
        // SAFETY: by the contract, the size is where `c_alloc` wrote it.
        unsafe {
            let block = block.sub(1 << SMALLEST);
            let size = block.cast::<usize>().read();
            self.dealloc(block, Layout::from_size_align_unchecked(size, 1 << SMALLEST));
        }
    }
}

// SAFETY: blocks are at least as large and aligned as asked for (a mapping's alignment is a page, more is refused), and given
// out once until they are freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return if layout.align() <= 4096 { map(layout.size()) } else { ptr::null_mut() };
        };
        // SAFETY: nobody else has a reference to the state, as there is one thread; free blocks are ours to read.
        unsafe {
            let state = &mut *self.0.get();
            let Some(free) = state.free.get_mut(class) else { return ptr::null_mut() };
            let block = *free;
            if !block.is_null() {
                *free = block.cast::<*mut u8>().read();
                return block;
            }
            let size = 1 << (class as u32 + SMALLEST);
            if state.left < size {
                state.chunk = map(CHUNK);
                state.left = if state.chunk.is_null() { 0 } else { CHUNK };
                if state.left == 0 {
                    return ptr::null_mut();
                }
            }
            let block = state.chunk;
            state.chunk = block.add(size);
            state.left -= size;
            block
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`; as many bytes as were asked for, where a mapping is not zero anyway.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() && class(layout).is_some() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the contract, the block came from here with this layout and is nobody's any more.
        unsafe {
            let Some(class) = class(layout) else {
                libc::syscall(libc::SYS_munmap, block, layout.size());
                return;
            };
            if let Some(free) = (*self.0.get()).free.get_mut(class) {
                block.cast::<*mut u8>().write(*free);
                *free = block;
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the contract, `size` is not zero and fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(wanted)) {
            (None, None) => {
                // SAFETY: the block is a mapping of this size.
                let moved =
                    unsafe { libc::syscall(libc::SYS_mremap, block, layout.size(), size, libc::MREMAP_MAYMOVE) };
                return pointer(moved);
            }
            (before, after) if before == after => return block,
            _ => {}
        }
        // SAFETY: two blocks, and as many bytes as both have.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
