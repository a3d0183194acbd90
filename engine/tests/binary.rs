//! The binary itself. (That this test exists also makes `cargo test --workspace` build it for the tests crate.)

use std::process::Command;

#[test]
fn the_binary_says_its_version_and_refuses_unknown_verbs_with_exit_code_2() {
    let binary = env!("CARGO_BIN_EXE_epiledger");
    let version = Command::new(binary).arg("--version").output().unwrap();
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("epiledger "), "{version:?}");
    let unknown = Command::new(binary).arg("forget-everything").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}
