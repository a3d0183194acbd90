//! A test that this machine can't run says so, also when it passes, and fails where the machine must lack nothing.

use std::process::Command;

/// Runs one test of this suite in a process of its own that finds no program, and gives its success and its stderr.
fn without_programs(test: &str, required: bool) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env("PATH", "").env_remove("EPILEDGER_REQUIRE");
    if required {
        command.env("EPILEDGER_REQUIRE", "all");
    }
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{test} is not a test");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_skip_is_seen_and_fails_where_all_is_required() {
    let test = "verifiers::a_log_of_another_implementation_verifies_and_a_flipped_byte_of_it_exits_with_6";
    let (passed, said) = without_programs(test, false);
    assert!(passed && said.contains("skipped: the programs in Go"), "{said}");
    let (passed, _) = without_programs(test, true);
    assert!(!passed);
}
