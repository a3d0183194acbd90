//! A stack of its own for work that is as deep as the text: what a caller's stack holds decides nothing.

/// Enough for the deepest text within the limits; reserved and not used.
const STACK_BYTES: usize = 64 << 20;

/// Does the work on a deep stack; none when there is no thread, or when it panics.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}
