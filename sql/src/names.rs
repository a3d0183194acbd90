//! Which functions a question may name, and what is wrong with the others.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, WindowUDF};
use epiledger_privacy::functions;
use epiledger_privacy::refusal::Code;
use std::sync::Arc;

use crate::nearest::nearest;

/// Functions that give another value at each call.
const VOLATILE: [&str; 12] = [
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "setseed",
    "nextval",
    "pg_sleep",
    "sleep",
    "clock_timestamp",
    "timeofday",
];

/// Names of the day on which the data ends.
pub(crate) const TODAY: [&str; 5] = ["now", "current_date", "current_timestamp", "today", "localtimestamp"];

/// The ratio of a circle's circumference to its diameter.
pub(crate) const PI: &str = "pi";

/// Aggregates that a question may name: some are released, the others are for one patient's rows or for released numbers.
const AGGREGATES: [&str; 17] = [
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "approx_median",
    "approx_percentile_cont",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "var",
    "var_samp",
    "var_pop",
    "corr",
    "bool_and",
];

/// Window functions that a question may name.
const WINDOWS: [&str; 8] =
    ["row_number", "rank", "dense_rank", "percent_rank", "lag", "lead", "first_value", "last_value"];

static ENGINE_SCALARS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut known = datafusion::functions::all_default_functions();
    known.extend(datafusion::functions_nested::all_default_nested_functions());
    let mut names: Vec<String> = Vec::new();
    for function in known {
        names.push(function.name().to_owned());
        names.extend(function.aliases().iter().cloned());
    }
    names
});

static ENGINE_AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> =
    LazyLock::new(datafusion::functions_aggregate::all_default_aggregate_functions);

static ENGINE_WINDOWS: LazyLock<Vec<Arc<WindowUDF>>> =
    LazyLock::new(datafusion::functions_window::all_default_window_functions);

fn is_aggregate(function: &AggregateUDF, name: &str) -> bool {
    function.name() == name || function.aliases().iter().any(|alias| alias == name)
}

/// The aggregate of this name.
pub(crate) fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    if !AGGREGATES.contains(&name) {
        return None;
    }
    ENGINE_AGGREGATES.iter().find(|function| is_aggregate(function, name)).map(Arc::clone)
}

/// The window function of this name.
pub(crate) fn window(name: &str) -> Option<Arc<WindowUDF>> {
    if !WINDOWS.contains(&name) {
        return None;
    }
    ENGINE_WINDOWS.iter().find(|function| function.name() == name).map(Arc::clone)
}

/// Does this function need OVER?
pub(crate) fn only_window(name: &str) -> bool {
    WINDOWS.contains(&name) && !AGGREGATES.contains(&name)
}

/// Functions of the dialect whose names are near to this one.
pub(crate) fn near(name: &str) -> Vec<&'static str> {
    let known = functions::names().chain(AGGREGATES).chain(WINDOWS).chain(TODAY);
    nearest(name, known)
}

/// What is wrong with a call of this name, by the name alone.
pub(crate) fn fault(name: &str) -> Option<Code> {
    let known = TODAY.contains(&name)
        || name == PI
        || functions::scalar(name).is_some()
        || AGGREGATES.contains(&name)
        || WINDOWS.contains(&name);
    if known {
        return None;
    }
    let of_engine = |names: &[&str]| names.contains(&name);
    Some(if VOLATILE.contains(&name) {
        Code::VolatileFn
    } else if ENGINE_AGGREGATES.iter().any(|function| is_aggregate(function, name))
        || ENGINE_WINDOWS.iter().any(|function| function.name() == name)
        || of_engine(&["quantile", "percentile", "mode", "listagg", "group_concat", "any_value"])
    {
        Code::AggUnsupported
    } else if ENGINE_SCALARS.iter().any(|known| known == name) || of_engine(&["unnest", "repeat", "lpad", "rpad"]) {
        Code::NonTotalFn
    } else {
        Code::UnknownName
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_aggregate_and_window_exists() {
        for name in AGGREGATES {
            assert!(aggregate(name).is_some(), "{name}");
        }
        for name in WINDOWS {
            assert!(window(name).is_some(), "{name}");
        }
        assert!(aggregate("array_agg").is_none());
    }

    #[test]
    fn faults_by_name() {
        assert_eq!(fault("random"), Some(Code::VolatileFn));
        assert_eq!(fault("array_agg"), Some(Code::AggUnsupported));
        assert_eq!(fault("to_timestamp"), Some(Code::NonTotalFn));
        assert_eq!(fault("no_such"), Some(Code::UnknownName));
        assert_eq!(fault("date_trunc"), None);
    }
}
