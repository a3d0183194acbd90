//! The one binary: everything is in the library.

use std::process::ExitCode;

/// It gives memory back, so that a long ingest holds no more than a short one; with the system's allocator, what many
/// threads free in pieces stays. No huge pages (see Cargo.toml): a page of 2 MiB would stay for one small piece in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    epiledger_engine::cli::run()
}
