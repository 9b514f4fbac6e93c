//! The one binary. Everything is in the library, where tests reach it.

use std::process::ExitCode;

/// Requests are made on one thread and freed on the one that commits them, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vestibule::cli::run()
}
