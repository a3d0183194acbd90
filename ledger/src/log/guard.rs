//! A log whose folder may be an older copy: its newest head is kept elsewhere, and a log that does not continue that
//! head takes nothing more.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{Appended, Log, Shared, Ticket};
use crate::{
    checkpoint::Checkpoint,
    error::LogError,
    tree::{self, Hash},
};

/// Where a log's newest head is kept outside of its folder.
pub trait HeadPin: Send + Sync {
    /// Keeps a head, durably; a later one that is kept already stays.
    ///
    /// # Errors
    /// It can't be kept.
    fn advance(&self, head: &Checkpoint) -> io::Result<()>;
}

/// What a log is guarded by.
#[derive(Default)]
pub(crate) struct Guard {
    frozen: OnceLock<String>,
    kept: Mutex<Kept>,
}

/// The pin, and the size of the head that it keeps.
#[derive(Default)]
struct Kept {
    size: u64,
    pin: Option<Arc<dyn HeadPin>>,
}

impl Guard {
    /// Why nothing may be appended.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.frozen.get().map_or(Ok(()), |why| Err(LogError::Frozen(why.clone())))
    }
}

impl Log {
    /// From now on nothing is appended; what is there is still read, proved and served. `why` is told to those who try.
    pub fn freeze(&self, why: &str) {
        // The first reason stands.
        let _ = self.shared.guard.frozen.set(why.to_owned());
    }

    /// Why nothing may be appended, when the log is frozen.
    pub fn frozen(&self) -> Option<&str> {
        self.shared.guard.frozen.get().map(String::as_str)
    }

    /// Keeps the newest durable head in `pin`, now and whenever [`Ticket::wait_pinned`] is called.
    ///
    /// # Errors
    /// It can't be kept; the log goes on without.
    pub fn pin_heads(&self, pin: Arc<dyn HeadPin>) -> io::Result<()> {
        let head = self.checkpoint();
        pin.advance(&head)?;
        let mut kept = self.shared.guard.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { size: head.size, pin: Some(pin) };
        Ok(())
    }

    /// Root of the tree of the first `size` entries.
    ///
    /// # Errors
    /// There are fewer, or a tile cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        let (nodes, head) = self.nodes()?;
        if size > head.size {
            return Err(LogError::OutOfRange { index: size, size: head.size });
        }
        tree::root(&nodes, size)
    }
}

impl Ticket {
    /// [`Self::wait`], and then until the log's pin keeps a head that covers the entries, when it has one. Those who
    /// wait at the same time share one write.
    ///
    /// # Errors
    /// As there; or the head can't be kept, and then the log has stopped.
    pub fn wait_pinned(self) -> Result<Appended, LogError> {
        let (shared, end) = (Arc::clone(&self.shared), self.end);
        let appended = self.wait()?;
        shared.keep_head(end)?;
        Ok(appended)
    }
}

impl Shared {
    fn keep_head(&self, end: u64) -> Result<(), LogError> {
        let mut kept = self.guard.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pin) = kept.pin.clone().filter(|_| kept.size < end) else { return Ok(()) };
        let head = self.state()?.durable.clone();
        pin.advance(&head).map_err(|error| {
            let error = LogError::io("pin the head of", &self.dir, &error);
            self.poison(&error);
            error
        })?;
        kept.size = head.size;
        Ok(())
    }
}
