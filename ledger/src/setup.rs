//! What a log takes from its surroundings: time, and how long its files grow.

use std::{sync::Arc, time::Duration};

use crate::clock::{Clock, SystemClock};

/// A pack is closed when it is at least this long.
pub(crate) const PACK_BYTES: u64 = 64 * 1024 * 1024;

/// The surroundings of a log. The default is right everywhere but in tests, which turn time back and keep files short.
#[derive(Clone)]
pub struct Setup {
    /// Where block times come from.
    pub clock: Arc<dyn Clock>,
    /// A journal segment is closed when it is at least this long, in bytes.
    pub segment_bytes: u64,
    /// A pack is closed when it is at least this long, in bytes.
    pub pack_bytes: u64,
    /// How long the projection lets frames gather after it has published some, unless somebody waits for it: its syncs
    /// slow down those that commit.
    pub publish_pause: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            segment_bytes: 16 * 1024 * 1024,
            pack_bytes: PACK_BYTES,
            publish_pause: Duration::from_millis(25),
        }
    }
}
