//! Who waits for whom: the same question twice, one Idempotency-Key twice, and questions of one protocol.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use epiledger_privacy::budget::FAILURES_ALLOWED;
use tokio::sync::{Mutex as Turn, Notify, Semaphore};

use crate::api::QueryError;

/// Questions of all protocols that run at once; more wait.
const RUNNING: usize = 16;

/// Longest wait for the end of another question before looking again: one that was dropped tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Locks by name, each kept while somebody holds it.
struct Named<K, L>(Mutex<HashMap<K, Weak<L>>>);

impl<K, L> Default for Named<K, L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, L> Named<K, L> {
    fn get(&self, name: K, new: impl FnOnce() -> L) -> Arc<L> {
        let mut locks = open(&self.0);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(new());
        locks.insert(name, Arc::downgrade(&lock));
        lock
    }
}

/// The turns that questions take.
pub(crate) struct Turns {
    questions: Named<String, Turn<()>>,
    protocols: Named<String, Semaphore>,
    running: Semaphore,
    ended: Notify,
    /// Requests by the Idempotency-Key that they are in flight under.
    keys: Arc<Mutex<HashMap<String, String>>>,
}

impl Default for Turns {
    fn default() -> Self {
        let (questions, protocols) = (Named::default(), Named::default());
        let running = Semaphore::new(RUNNING);
        Self { questions, protocols, running, ended: Notify::new(), keys: Arc::default() }
    }
}

/// An Idempotency-Key in flight, until this is dropped.
pub(crate) struct InFlight {
    keys: Arc<Mutex<HashMap<String, String>>>,
    key: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        open(&self.keys).remove(&self.key);
    }
}

impl Turns {
    /// The lock that questions with this cache key pass one by one.
    pub(crate) fn question(&self, cache_key: &str) -> Arc<Turn<()>> {
        self.questions.get(cache_key.to_owned(), || Turn::new(()))
    }

    /// The places of a protocol: as many of its questions run beside each other as may fail.
    pub(crate) fn protocol(&self, protocol: &str) -> Arc<Semaphore> {
        self.protocols.get(protocol.to_owned(), || Semaphore::new(FAILURES_ALLOWED as usize))
    }

    /// The places of all questions.
    pub(crate) const fn running(&self) -> &Semaphore {
        &self.running
    }

    /// Takes an Idempotency-Key's hash for a request.
    ///
    /// # Errors
    /// [`QueryError::Conflict`] when the request is in flight, [`QueryError::KeyReused`] when another one is.
    pub(crate) fn take(&self, key: &str, request: &str) -> Result<InFlight, QueryError> {
        let mut keys = open(&self.keys);
        match keys.get(key) {
            Some(other) if other == request => return Err(QueryError::Conflict),
            Some(_) => return Err(QueryError::KeyReused),
            None => keys.insert(key.to_owned(), request.to_owned()),
        };
        Ok(InFlight { keys: Arc::clone(&self.keys), key: key.to_owned() })
    }

    /// A question has ended.
    pub(crate) fn end(&self) {
        self.ended.notify_waiters();
    }

    /// Waits until some question has ended since this call, or a short while.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> {
        // A notice counts from here on, not from the first poll.
        let notified = self.ended.notified();
        async move {
            let _ = tokio::time::timeout(LOOK_AGAIN, notified).await;
        }
    }
}

/// Nothing under these locks can be left half done.
fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_flight_until_its_request_ends() {
        let turns = Turns::default();
        let held = turns.take("k", "one").unwrap();
        assert_eq!(turns.take("k", "one").err(), Some(QueryError::Conflict));
        assert_eq!(turns.take("k", "two").err(), Some(QueryError::KeyReused));
        assert!(turns.take("l", "one").is_ok());
        drop(held);
        assert!(turns.take("k", "two").is_ok());
    }

    #[test]
    fn a_protocol_has_as_many_places_as_may_fail() {
        let turns = Turns::default();
        let places = turns.protocol("p");
        let held: Vec<_> = (0..3).map(|_| places.try_acquire().unwrap()).collect();
        assert!(turns.protocol("p").try_acquire().is_err());
        assert!(turns.protocol("q").try_acquire().is_ok());
        drop(held);
        assert!(turns.protocol("p").try_acquire().is_ok());
    }
}
