//! What a machine lacks, a test says. The tests of every crate share this file; those below this crate by its path.

use std::io::Write;

/// Says that something is skipped, and why; where `EPILEDGER_REQUIRE=all` promises a machine that lacks nothing, the
/// test fails instead.
///
/// # Panics
/// Then.
#[track_caller]
pub fn skip(why: &str) {
    let required = std::env::var("EPILEDGER_REQUIRE").is_ok_and(|require| require == "all");
    assert!(!required, "EPILEDGER_REQUIRE=all, and {why}");
    say(why);
}

/// Says why something is skipped that nothing can require. Written past libtest, which keeps what the `print` macros
/// of a passing test say to itself.
pub fn say(why: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
}
