//! What plain `cargo test` shows where servers are missing.

use std::process::{Command, Output};

/// The variables of the harness: lines, output and names of other tests that fail, and how many
/// fail in all.
const OTHERS: [&str; 4] = ["OTHER_LINES", "OTHER_OUTPUT", "OTHER_NAMES", "FAILED"];

fn run(others: [&str; 4], environment: &[(&str, &str)]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/scripts/test-runner.sh"));
    command.arg(format!("{root}/tests/project/test_runner/integration-harness.sh"));
    command.env_remove("CI").env_remove("BKLIT_TEST_ALL").env_remove("BKLIT_TEST_MISSING");
    command.envs(OTHERS.into_iter().zip(others)).envs(environment.iter().copied());
    command.output().unwrap()
}

const NO_OTHERS: [&str; 4] = ["", "", "", "2"];

#[test]
fn tests_whose_server_is_missing_are_ignored_with_one_line_for_the_server() {
    let output = run(NO_OTHERS, &[]);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("test redis::push ... ignored, BKLIT_TEST_VALKEY is not set"));
    assert!(stdout.contains("test http::route ... ok"));
    assert!(stdout.contains("test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured"));
    assert!(!stdout.contains("panicked") && !stdout.contains("failures"), "{stdout}");
    assert_eq!(stderr.matches("BKLIT_TEST_VALKEY is not set: 2 tests").count(), 1, "{stderr}");
}

#[test]
fn a_test_that_fails_for_another_reason_still_fails() {
    let others = [
        "test http::limit ... FAILED",
        "---- http::limit stdout ----\nthread 'http::limit' panicked: too slow\n",
        "    http::limit",
        "3",
    ];
    let output = run(others, &[]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(101), "{stdout}");
    assert!(stdout.contains("test http::limit ... FAILED"), "{stdout}");
    assert!(stdout.contains("panicked: too slow"), "{stdout}");
    assert!(stdout.contains("failures:\n    http::limit\n"), "{stdout}");
    assert!(stdout.contains("test result: FAILED. 1 passed; 1 failed; 2 ignored"), "{stdout}");
    assert!(!stdout.contains("VALKEY is not set\n\n"), "{stdout}");
}

#[test]
fn where_all_must_run_a_missing_server_is_a_failure() {
    for variable in ["CI", "BKLIT_TEST_ALL"] {
        let output = run(NO_OTHERS, &[(variable, "1")]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(101), "{stdout}");
        assert!(stdout.contains("test redis::push ... FAILED"), "{stdout}");
        assert!(stdout.contains("1 passed; 2 failed; 0 ignored"), "{stdout}");
        assert!(output.stderr.is_empty());
    }
}
