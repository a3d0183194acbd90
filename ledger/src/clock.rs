//! Where block times come from; injected, so that tests can turn time back.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time. May jump; the log never lets a block's time go backwards.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01 UTC.
    fn now_seconds(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}
