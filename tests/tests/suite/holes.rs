//! Holes that other systems had, and the test here that would fail if we had them.

use std::{fs, path::Path};

const HOLES: [(&str, &[&str]); 12] = [
    (
        "a run that fails on NaN or overflow is repeated and charged once",
        &["a_failed_question_asked_again_is_charged_again", "no_function_fails_on_any_input"],
    ),
    (
        "the charge comes after success",
        &[
            "a_failed_question_asked_again_is_charged_again",
            "killed_under_questions_the_accountant_is_the_fold_of_an_independent_reader",
        ],
    ),
    (
        "an error's text tells of the data",
        &["no_error_repeats_a_literal_of_the_question", "a_question_ends_alike_whether_rows_match_or_not"],
    ),
    ("only success is delayed", &["outcomes_leave_at_the_first_boundary_at_or_after_completion"]),
    (
        "each user has a budget, and users collude",
        &["colluding_askers_share_one_lifetime_cap", "two_hundred_at_once_against_a_budget_for_one_hundred"],
    ),
    (
        "a window inside a CTE goes unchecked",
        &["each_is_refused_with_its_code_nothing_is_spent_and_one_entry_is_logged"],
    ),
    ("a variance is the difference of two large numbers", &["centred_squares_keep_their_bound"]),
    ("noise is drawn inside the database, once per row or partition", &["released_noise_has_the_logged_sigma"]),
    ("sums are of floats, so that order tells", &["order_and_layout_do_not_matter"]),
    (
        "a patient counts in any number of groups",
        &[
            "the_operator_the_relational_form_and_a_naive_reference_agree",
            "released_sums_stay_within_their_charge_and_broken_variants_do_not",
        ],
    ),
    ("empty input is an error", &["a_question_ends_alike_whether_rows_match_or_not"]),
    (
        "a join multiplies a heavy patient",
        &["a_patient_past_the_allowance_of_a_join_contributes_nothing", "an_allowance_is_kept_where_rows_are_joined"],
    ),
];

fn tests(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                // Attributes of a test may be followed by others.
                if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                    let name = lines.by_ref().find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
                    found.extend(name.and_then(|rest| rest.split_once('(')).map(|(name, _)| name.to_owned()));
                }
            }
        }
    }
}

#[test]
fn each_hole_of_others_has_a_test_that_is_there() {
    let root = Path::new("..");
    let mut found = Vec::new();
    ["privacy", "sql", "engine", "tests"].iter().for_each(|name| tests(&root.join(name), &mut found));
    assert!(found.len() > 200, "the walk found too little to mean anything");
    for (hole, names) in HOLES {
        for name in names {
            assert!(found.iter().any(|test| test == name), "{hole}: {name} is gone");
        }
    }
}
