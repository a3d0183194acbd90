"""SmartNoise SQL's side of accuracy.py: its reader over SQLite; it bounds a patient's rows over all groups together."""

import csv
import json
import math
import sqlite3
import sys

from snsql import Privacy, from_connection
from snsql.sql.odometer import OdometerHeterogeneous

# Each measure with the number of statistics that its reader draws for it: each spends the epsilon.
ASKED = {
    "count": ("SELECT COUNT(*) AS x FROM data.rows", 1),
    "sum": ("SELECT SUM(value) AS x FROM data.rows", 1),
    "mean": ("SELECT AVG(value) AS x FROM data.rows", 2),
    "variance": ("SELECT VAR(value) AS x FROM data.rows", 3),
    "groups": ("SELECT visit, COUNT(*) AS x FROM data.rows GROUP BY visit", 1),
}


def each(task, statistics):
    """The epsilon of one statistic, so that its own odometer stays within the series' epsilon and delta."""
    draws = task["questions"] * statistics
    share = task["delta"] / (2 * draws)

    def spent(epsilon):
        odometer = OdometerHeterogeneous(Privacy(epsilon=epsilon, delta=share))
        odometer.tol = task["delta"] / 2
        for _ in range(draws):
            odometer.spend(Privacy(epsilon=epsilon, delta=share))
        return odometer.spent[0]

    low, high = 0.0, task["epsilon"]
    if spent(high) <= task["epsilon"]:
        return high, share
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) <= task["epsilon"] else (low, middle)
    return low, share


def main():
    """Reads the task, prints the draws."""
    task = json.load(sys.stdin)
    connection = sqlite3.connect(":memory:")
    connection.execute("ATTACH ':memory:' AS data")
    connection.execute("CREATE TABLE data.rows (pid INTEGER, visit INTEGER, value REAL)")
    with open(task["data"], newline="") as file:
        rows = ((int(row["pid"]), int(row["day"]), float(row["value"])) for row in csv.DictReader(file))
        connection.executemany("INSERT INTO data.rows VALUES (?, ?, ?)", rows)
    draws = {}
    for measure, (sql, statistics) in ASKED.items():
        epsilon, delta = each(task, statistics)
        limit = task["rows"] * (task["groups"] if measure == "groups" else 1)
        table = {
            "max_ids": limit,
            "sample_max_ids": True,
            "censor_dims": False,
            "clamp_counts": False,
            "pid": {"type": "int", "private_id": True},
            "visit": {"type": "int", "lower": 0, "upper": task["days"] - 1},
            "value": {"type": "float", "lower": task["low"], "upper": task["high"]},
        }
        meta = {"": {"data": {"rows": table}}}
        privacy = Privacy(epsilon=epsilon, delta=delta)
        reader = from_connection(connection, engine="sqlite", metadata=meta, privacy=privacy)
        draws[measure] = []
        for _ in range(task["repeats"]):
            try:
                released = reader.execute(sql)[1:]
            except ValueError as refusal:
                if "Noise scale is too large" not in str(refusal):
                    raise
                # It refuses noise past a scale of its own: not offered at this budget.
                break
            if measure == "groups":
                days = [0.0] * task["days"]
                for day, n in released:
                    days[int(day)] = float(n)
                draws[measure].append(days)
            elif math.isfinite(float(released[0][0])):
                draws[measure].append(float(released[0][0]))
    print(json.dumps(draws))


if __name__ == "__main__":
    main()
