//! Time as the release sees it: a clock that tests can hold still, and the public classes of waiting.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// The instants at which an outcome may leave, after the intent is durable (privacy.md, "Time").
pub const TIME_CLASSES: [Duration; 8] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(100),
    Duration::from_secs(300),
];

/// When outcomes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// At the first class boundary at or after completion, success or failure alike.
    Classes,
    /// At once: for benchmarks, enclaves and trusted users. Written into every intent.
    Immediate,
}

impl Timing {
    /// Its name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Immediate => "immediate",
        }
    }
}

/// A clock that only goes forward.
pub trait Clock: Send + Sync {
    /// Time since some fixed start.
    fn now(&self) -> Duration;
    /// Done at `instant` (of [`Self::now`]) or later.
    fn sleep_until<'a>(&'a self, instant: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// A sleep on whatever runtime the caller has.
pub type Sleep = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The machine's monotonic clock, with the caller's way to sleep (the core brings no runtime).
pub struct MonotonicClock {
    start: Instant,
    sleep: Sleep,
}

impl MonotonicClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new(sleep: Sleep) -> Self {
        Self { start: Instant::now(), sleep }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until<'a>(&'a self, instant: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        (self.sleep)(instant.saturating_sub(self.now()))
    }
}

/// Rows whose reading takes as long as weighing one candidate of one cell of a quantile.
const ROWS_OF_A_CHOICE: u64 = 10;

/// The class of a question: its deadline, from the declared number of rows it reads, and the products of cells and
/// candidates that its quantiles choose from.
///
/// A scan of a million rows fits into a second with a wide margin; the class grows with the work.
#[must_use]
pub fn deadline(declared_rows: u64, choices: u64) -> Duration {
    let rows = declared_rows.saturating_add(choices.saturating_mul(ROWS_OF_A_CHOICE));
    let wanted = Duration::from_secs(1 + rows / 1_000_000);
    TIME_CLASSES.into_iter().find(|class| *class >= wanted).unwrap_or(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(300);

/// The first boundary at or after `elapsed`; past the longest class, the next whole multiple of it.
#[must_use]
pub fn boundary(elapsed: Duration) -> Duration {
    let later = || LONGEST * u32::try_from(elapsed.as_nanos().div_ceil(LONGEST.as_nanos())).unwrap_or(u32::MAX);
    TIME_CLASSES.into_iter().find(|class| *class >= elapsed).unwrap_or_else(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_leaves_at_a_class_boundary() {
        let ms = Duration::from_millis;
        assert_eq!(boundary(ms(0)), ms(100));
        assert_eq!(boundary(ms(100)), ms(100));
        assert_eq!(boundary(ms(101)), ms(300));
        assert_eq!(boundary(ms(9_000)), ms(10_000));
        assert_eq!(boundary(LONGEST), LONGEST);
        assert_eq!(boundary(LONGEST + ms(1)), LONGEST * 2);
    }

    #[test]
    fn the_deadline_grows_with_declared_rows_and_choices_and_nothing_else() {
        assert_eq!(deadline(0, 0), Duration::from_secs(1));
        assert_eq!(deadline(2_000_000, 0), Duration::from_secs(3));
        assert_eq!(deadline(0, 2_000_000), Duration::from_secs(30));
        assert_eq!((deadline(u64::MAX, 0), deadline(1, u64::MAX)), (LONGEST, LONGEST));
    }
}
