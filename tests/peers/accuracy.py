"""Error of released numbers beside OpenDP, SmartNoise SQL and PipelineDP, on the same million rows.

    python3 tests/peers/accuracy.py --binary target/release/epiledger [--people 250000] [--repeats 20]

Each system gets the same contribution limits (4 rows of a patient in a group, 20 groups) and the same (epsilon,
delta), once for a single question and once for a series of 100 that its own accountant composes. What is printed is
the root mean square error against the exact answer, with its standard error. No patient passes a limit, and the four
values of a patient are equal, so that the median over rows (the peers') and over patients (ours, one value each) is one
number: the error is noise alone. Every peer runs in a virtual environment of its own (their requirements conflict), made under --work.

Ours composes in zCDP and shows an epsilon for it, of Gaussians where all draws are; a question's rho is the largest for
which the server's own plan of the series stays within the epsilon. OpenDP composes in zCDP too, PipelineDP by privacy
loss distributions, SmartNoise by Kairouz, Oh and Viswanath's theorem 3.5.
"""

import argparse
import concurrent.futures
import csv
import json
import math
import pathlib
import random
import subprocess
import sys
import venv

EPSILON, DELTA, QUESTIONS = 2.0, 1e-6, 100
ROWS, GROUPS = 4, 20
DAYS = 1000
LOW, HIGH = 0.0, 1000.0
MEASURES = ["count", "sum", "mean", "variance", "median", "groups"]
PEERS = {
    "OpenDP": ("peer_opendp.py", ["opendp[polars]==0.16.0", "numpy", "pyarrow"]),
    "SmartNoise SQL": ("peer_smartnoise.py", ["smartnoise-sql==1.0.10", "numpy", "pyarrow"]),
    "PipelineDP": ("peer_pipelinedp.py", ["pipeline-dp==0.3.1", "dp-accounting", "numpy", "pyarrow"]),
}


def make_rows(work, people, seed=7):
    """A measurement of each patient on four days of their own, as Synthea's two files and as plain rows for the peers."""
    import datetime

    done = work / "rows.csv"
    if done.exists():
        return
    source = random.Random(seed)
    first = datetime.date(2018, 1, 1)
    synthea = work / "synthea"
    synthea.mkdir(parents=True, exist_ok=True)
    partial = work / "rows.partial"
    with (
        open(synthea / "patients.csv", "w", newline="") as patients,
        open(synthea / "observations.csv", "w", newline="") as observations,
        open(partial, "w", newline="") as plain,
    ):
        patients, observations, plain = csv.writer(patients), csv.writer(observations), csv.writer(plain)
        patients.writerow(["Id", "BIRTHDATE", "GENDER", "STATE", "FIPS"])
        observations.writerow(["DATE", "PATIENT", "CODE", "VALUE", "UNITS", "TYPE"])
        plain.writerow(["pid", "day", "value"])
        for person in range(people):
            name = f"{person:08d}"
            patients.writerow([name, f"{source.randrange(1930, 2015)}-06-15", "FM"[person % 2], "MA", "25017"])
            value = f"{min(max(source.gauss(128, 15), LOW), HIGH):.2f}"
            for day in source.sample(range(DAYS), ROWS):
                date = first + datetime.timedelta(days=day)
                observations.writerow([f"{date}T00:00:00Z", name, "8480-6", value, "mm[Hg]", "numeric"])
                plain.writerow([person, day, value])
    partial.rename(done)


def exact(work):
    """The exact answers, from the plain rows."""
    values, days = [], [0] * DAYS
    with open(work / "rows.csv", newline="") as rows:
        for row in csv.DictReader(rows):
            values.append(float(row["value"]))
            days[int(row["day"])] += 1
    n, total = len(values), math.fsum(values)
    mean = total / n
    return {
        "count": n,
        "sum": total,
        "mean": mean,
        "variance": math.fsum((v - mean) ** 2 for v in values) / (n - 1),
        "median": sorted(values)[n // 2],
        "groups": days,
    }


def python_of(work, name, requirements):
    """The interpreter of a peer's own environment."""
    home = work / ("venv-" + name.split()[0].lower())
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
        (home / "ready").write_text("\n".join(requirements))
    return python


def ask(python, script, task):
    """Runs a peer on one task; its last line of output is a JSON object."""
    run = subprocess.run([python, script], input=json.dumps(task), capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{script.name}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def error(draws, truth):
    """Root mean square error and its standard error, over repeats (and over groups)."""
    if not draws:
        return None
    if isinstance(truth, list):
        if any(len(draw) != len(truth) for draw in draws):
            sys.exit("a draw has not as many groups as there are")
        squares = [sum((v - t) ** 2 for v, t in zip(draw, truth)) / len(truth) for draw in draws]
    else:
        squares = [(draw - truth) ** 2 for draw in draws]
    mean = sum(squares) / len(squares)
    spread = math.sqrt(sum((s - mean) ** 2 for s in squares) / max(1, len(squares) - 1) / len(squares))
    root = math.sqrt(mean)
    return root, spread / (2 * root) if root else 0.0


def table(title, errors, systems):
    """One row a measure, one column a system, `error ± standard error`."""
    print(f"\n{title}")
    print(f"{'':10}" + "".join(f"{system:>26}" for system in systems))
    for measure in MEASURES:
        cells = (errors[system].get(measure) for system in systems)
        shown = ("not offered" if cell is None else f"{cell[0]:.4g} ± {cell[1]:.2g}" for cell in cells)
        print(f"{measure:10}" + "".join(f"{cell:>26}" for cell in shown))


def worse(errors, ours, peers):
    """The rows on which ours is worse by more than two standard errors of the difference."""
    found = []
    for measure in MEASURES:
        mine = errors[ours].get(measure)
        for peer in peers:
            theirs = errors[peer].get(measure)
            if mine and theirs and mine[0] - theirs[0] > 2 * math.hypot(mine[1], theirs[1]):
                found.append(f"{measure}: {mine[0]:.4g} against {peer}'s {theirs[0]:.4g}")
    return found


def main():
    """Makes the rows, asks everybody, prints both tables; exit 1 when a row of the series is worse."""
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "epiledger-peers")
    parser.add_argument("--people", type=int, default=250_000)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    work = arguments.work / str(arguments.people)
    work.mkdir(parents=True, exist_ok=True)
    make_rows(work, arguments.people)
    truth = exact(work)
    pythons = {name: python_of(arguments.work, name, requirements) for name, (_, requirements) in PEERS.items()}
    limits = {"rows": ROWS, "groups": GROUPS, "low": LOW, "high": HIGH, "days": DAYS, "data": str(work / "rows.csv")}
    errors = {1: {}, QUESTIONS: {}}
    for questions in errors:
        task = {**limits, "epsilon": EPSILON, "delta": DELTA, "questions": questions, "repeats": arguments.repeats}
        ours = {**task, "binary": str(arguments.binary.resolve()), "work": str(work)}
        # No time is measured here, so two may run beside each other.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asked = {"Epiledger": pool.submit(ask, sys.executable, here / "ours.py", ours)}
            for name, (script, _) in PEERS.items():
                asked[name] = pool.submit(ask, pythons[name], here / script, task)
            draws = {name: answer.result() for name, answer in asked.items()}
        for measure, (rho, shown, sigma) in draws["Epiledger"].pop("prices").items():
            noise = f", noise of {sigma:.4g} is stated" if sigma else ""
            print(f"{questions} x {measure}: rho {rho:.9f} each, for all ours shows epsilon {shown}{noise}", flush=True)
        for name, by_measure in draws.items():
            errors[questions][name] = {m: error(by_measure.get(m, []), truth[m]) for m in MEASURES}
    systems = ["Epiledger", *PEERS]
    rows = ROWS * arguments.people
    alone = f"One question alone, {rows} rows, epsilon {EPSILON} (a pure-epsilon Laplace peer is better here)"
    table(alone, errors[1], systems)
    together = f"A question of a series of {QUESTIONS}, {rows} rows, epsilon {EPSILON} for the series"
    table(together, errors[QUESTIONS], systems)
    losses = worse(errors[QUESTIONS], "Epiledger", PEERS)
    print("\nours is worse beyond two standard errors: " + ("; ".join(losses) or "on no row of the series"))
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
