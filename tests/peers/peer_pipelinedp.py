"""PipelineDP's side of accuracy.py: its local backend, Gaussian noise, composed by privacy loss distributions."""

import csv
import json
import sys

import pipeline_dp
from pipeline_dp import Metrics

METRICS = {
    "count": Metrics.COUNT,
    "sum": Metrics.SUM,
    "mean": Metrics.MEAN,
    "variance": Metrics.VARIANCE,
    "median": Metrics.PERCENTILE(50),
    "groups": Metrics.COUNT,
}


def draws(rows, measure, task):
    """Repeats of one measure; in a series each repeat is one of its questions, under one accountant."""
    if task["questions"] < task["repeats"]:
        return [value for _ in range(task["repeats"]) for value in series(rows, measure, task, 1)]
    return series(rows, measure, task, task["repeats"])


def series(rows, measure, task, repeats):
    """Asks `repeats` of the series' questions; the others are declared to the accountant and never run."""
    grouped = measure == "groups"
    accountant_of = pipeline_dp.PLDBudgetAccountant if supported(measure) else pipeline_dp.NaiveBudgetAccountant
    accountant = accountant_of(task["epsilon"], task["delta"], num_aggregations=task["questions"])
    engine = pipeline_dp.DPEngine(accountant, pipeline_dp.LocalBackend())
    params = pipeline_dp.AggregateParams(
        metrics=[METRICS[measure]],
        noise_kind=pipeline_dp.NoiseKind.GAUSSIAN,
        max_partitions_contributed=task["groups"] if grouped else 1,
        max_contributions_per_partition=task["rows"],
        min_value=task["low"],
        max_value=task["high"],
    )
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0],
        partition_extractor=(lambda row: row[1]) if grouped else (lambda row: 0),
        value_extractor=lambda row: row[2],
    )
    keys = list(range(task["days"])) if grouped else [0]
    asked = [engine.aggregate(rows, params, extractors, public_partitions=keys) for _ in range(task["questions"])]
    accountant.compute_budgets()
    found = []
    for released in asked[:repeats]:
        values = {key: metrics[0] for key, metrics in released}
        found.append([values[key] for key in keys] if grouped else float(values[0]))
    return found


def supported(measure):
    """Variances and quantile trees are not within the PLD accountant's reach: they compose naively."""
    return measure not in ("variance", "median")


def main():
    """Reads the task, prints the draws."""
    task = json.load(sys.stdin)
    with open(task["data"], newline="") as file:
        rows = [(int(row["pid"]), int(row["day"]), float(row["value"])) for row in csv.DictReader(file)]
    print(json.dumps({m: draws(rows, m, task) for m in METRICS}))


if __name__ == "__main__":
    main()
