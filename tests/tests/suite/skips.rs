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
    let test = "auditor::the_independent_verifier_takes_the_demos_logs";
    let (passed, said) = without_programs(test, false);
    assert!(passed && said.contains("skipped: there is no python3"), "{said}");
    let (passed, _) = without_programs(test, true);
    assert!(!passed);
}
