//! Two copies of one log, entry by entry.

use super::report::Fault;
use crate::{
    checkpoint::Checkpoint,
    follow::{Edge, FollowError, Source, Walk, fetch_head},
    note::VerifierKey,
};

/// How two copies of a log differ.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Entries of each copy.
    pub sizes: [u64; 2],
    /// Entries that both have, from the first on.
    pub common: u64,
    /// Whether each has an entry after those that the other does not have: the log showed two faces.
    pub forked: bool,
}

/// Verifies the trees of two copies, both signed by one key, and finds the first entry that differs.
///
/// # Errors
/// One of them (0 or 1) is broken, or cannot be read.
pub fn diff(sources: [&dyn Source; 2], key: &VerifierKey) -> Result<Difference, (usize, FollowError)> {
    let [one, other] = sources;
    let heads =
        [fetch_head(one, key).map_err(|error| (0, error))?, fetch_head(other, key).map_err(|error| (1, error))?];
    let [first_head, other_head] = &heads;
    let mut first = start(one, first_head).map_err(|error| (0, error))?;
    let mut second = start(other, other_head).map_err(|error| (1, error))?;
    let mut common = 0;
    let mut forked = false;
    // Both walks go to their ends, so that each copy is verified as a whole.
    loop {
        let left = first.next(&mut |_, _| Ok(())).map_err(|error| (0, error))?;
        let right = second.next(&mut |_, _| Ok(())).map_err(|error| (1, error))?;
        match (left, right) {
            (Some(left), Some(right)) if !forked => {
                let same = left.leaves.iter().zip(&right.leaves).take_while(|(one, other)| one == other).count();
                common += same as u64;
                forked = same < left.leaves.len().min(right.leaves.len());
            }
            (None, None) => break,
            _ => {}
        }
    }
    Ok(Difference { sizes: heads.map(|head| head.size), common, forked })
}

fn start<'a>(source: &'a dyn Source, head: &'a Checkpoint) -> Result<Walk<'a>, FollowError> {
    Walk::start(source, head, None, Edge::default())
}

/// The fault of a log that signed two histories.
impl Difference {
    /// `None` when one copy is a beginning of the other.
    pub fn fault(&self) -> Option<Fault> {
        let message = "the two copies differ here, and one key signed both: the log showed two faces";
        self.forked.then(|| Fault::entry(self.common, "fork", message))
    }
}
