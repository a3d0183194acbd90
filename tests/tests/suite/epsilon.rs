//! The epsilon that is shown for what was paid, held against the auditor's sums and another implementation's curve.

use std::path::Path;

use epiledger_ledger::verify::{AuditOptions, audit};
use epiledger_tests::{App, verifiers};
use serde_json::{Value, json};

/// What the auditor adds up as a sum of Gaussians; `None` where some draw is of another kind.
fn gaussian(log: &Path) -> Option<String> {
    let report = audit(log, AuditOptions::default());
    assert_eq!(report.fault, None);
    report.audit.unwrap().budgets[0].gaussian.clone()
}

/// The id space's rho and epsilon, as the server shows them; `tests/verifiers/budget.py` finds the same, where Python is.
fn shown(app: &App, log: &Path) -> (f64, f64) {
    let budget = app.budget();
    let level = budget["levels"].as_array().unwrap().iter().find(|level| level["level"] == "id_space").unwrap();
    let (rho, epsilon) = (level["spent"]["rho"].as_str().unwrap(), level["spent"]["epsilon"].as_f64().unwrap());
    if let Some(output) = verifiers::python("budget.py", log) {
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let fold: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let theirs = &fold["spent"]["id_space"][level["name"].as_str().unwrap()];
        assert_eq!(theirs["rho"], rho);
        let exact = theirs["epsilon"].as_f64().unwrap();
        assert!(epsilon >= exact && epsilon < exact * (1.0 + 1e-5) + 3e-6, "{epsilon} is shown, {exact} is found");
    }
    (rho.parse().unwrap(), epsilon)
}

/// Bun and Steinke's epsilon at 1e-8, which any mechanism of this rho has.
fn loose(rho: f64) -> f64 {
    rho + 2.0 * (rho * 1e8_f64.ln()).sqrt()
}

#[test]
fn counts_are_told_tightly_and_a_quantile_makes_it_the_epsilon_of_any_draws() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 100);
    let log = data.join("audit");

    // What is asked as an epsilon is nearly reached, by either kind of draw.
    let ask = |sql: &str, epsilon: f64| {
        let body = json!({ "sql": sql, "privacy": { "epsilon": epsilon } });
        let reply = app.post("researcher", "/v1/statements", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let price = reply.json()["price"].clone();
        let (rho, paid): (f64, f64) =
            (price["rho"].as_str().unwrap().parse().unwrap(), price["epsilon"].as_f64().unwrap());
        assert!(paid <= epsilon && paid > epsilon * 0.999, "{price} for {epsilon}");
        rho
    };
    let mut counted = 0.0;
    for year in 1..=20 {
        counted = ask(&format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {}", 1940 + year), 0.3);
    }
    let (rho, epsilon) = shown(&app, &log);
    let sum: f64 = gaussian(&log).unwrap().parse().unwrap();
    assert!(sum > rho && sum < rho * 1.05, "{sum} is a hair above {rho}");
    assert!(epsilon < loose(rho) * 0.9, "{epsilon} for rho {rho}");

    let chosen = ask("SELECT MEDIAN(year_of_birth) FROM person", 0.3);
    assert!(chosen < counted, "a Gaussian of the same epsilon may cost more rho");
    assert_eq!(gaussian(&log), None);
    let (more, of_any) = shown(&app, &log);
    assert!(of_any < loose(more) && of_any > epsilon * 1.03, "{of_any} after {epsilon}");
}
