//! Python, for the tests that ask another implementation.

use std::{process::Command, sync::OnceLock};

use crate::skip::skip;

/// A Python that writes no bytecode; `None`, said once, where there is none.
///
/// # Panics
/// There is none, and all is required.
#[must_use]
pub fn python() -> Option<Command> {
    static HERE: OnceLock<bool> = OnceLock::new();
    let here = HERE.get_or_init(|| {
        let here = Command::new("python3").arg("--version").output().is_ok_and(|said| said.status.success());
        if !here {
            skip("there is no python3: nothing is compared with the implementations in Python");
        }
        here
    });
    let mut command = Command::new("python3");
    command.arg("-B");
    here.then_some(command)
}
