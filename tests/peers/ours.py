"""Our own side of accuracy.py: the rows are signed, imported, ingested and asked over HTTP, each question paid."""

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

FIRST = datetime.date(2018, 1, 1)
CUT = "2025-12-31"
# Rho that a first policy lets one folder pay in 24 hours.
DAY = 0.1
ENVIRONMENT = os.environ | {"EPILEDGER_TIMING": "immediate"}


def command(task, data, *arguments):
    """Runs the binary; gives its JSON."""
    line = [task["binary"], *arguments, "--data", str(data), "--json"]
    run = subprocess.run(line, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if run.returncode:
        sys.exit(f"{' '.join(arguments)}: {run.stderr[-1000:]}")
    return json.loads(run.stdout)


def folder(task):
    """The data folder up to its first snapshot, made once; every run starts from a copy with a fresh budget."""
    base, data = pathlib.Path(task["work"]) / "base", pathlib.Path(task["work"]) / "data"
    if not (base / "ready").exists():
        shutil.rmtree(base, ignore_errors=True)
        synthea = str(pathlib.Path(task["work"]) / "synthea")
        sizes = ["--data-cut", CUT, "--declared-patients", "1000000"]
        command(task, base, "ledger", "import", "--synthea", synthea, "--consent", "all", *sizes)
        expert = ["--method", "k-anonymity", "--date", "2025-01-01", "--expires", "2100-01-01", "--risk-max", "0.05"]
        command(task, base, "ledger", "determine", *expert)
        command(task, base, "ingest")
        (base / "ready").touch()
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(base, data)
    return data


def serve(task, data):
    """Sets policy, protocol and keys, and serves; gives the process, the address and a researcher's key."""
    keys = {}
    for role in ("steward", "board", "researcher"):
        keys[role] = data / f"{role}.key"
        keys[role].write_text(command(task, data, "keys", "create", role, "--role", role)["token"])
        keys[role].chmod(0o600)
    command(task, data, "budget", "set", "--approver", str(keys["steward"]), "--approver", str(keys["board"]))
    study = ["--title", "Accuracy", "--purpose", "HMB", "--investigator", "researcher"]
    dates = ["--valid-from", "2020-01-01", "--valid-to", "2100-01-01"]
    caps = ["--rho-cap", "0.5", "--delta-cap", "0.000001", "--key-file", str(keys["board"])]
    command(task, data, "protocol", "approve", "accuracy", *study, *caps, *dates)
    line = [task["binary"], "serve", "--port", "0", "--data", str(data), "--json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    url, keys = json.loads(process.stdout.readline())["url"], {role: key.read_text() for role, key in keys.items()}
    # Epsilons are shown at the peers' delta.
    proposal = post(url + "/v1/policies", keys["steward"], {"delta_rep": f"{task['delta']:.18f}"})
    post(f"{url}/v1/policies/{proposal['index']}/confirm", keys["board"], {})
    return process, url, keys["researcher"]


def questions(repeat, days):
    """One question a measure; the constant changes with the repeat, so that each is drawn anew and none is cached."""
    where = f"FROM measurement WHERE value_as_number >= {-1 - repeat}"
    last = FIRST + datetime.timedelta(days=days - 1)
    # Every day of the declared years is a key, as the peers are told theirs: no threshold is paid, each day is shown.
    day = "date_trunc('day', measurement_date)"
    by_day = f"GROUP BY {day} HAVING {day} BETWEEN DATE '{FIRST}' AND DATE '{last}' ORDER BY {day}"
    return {
        "count": f"SELECT COUNT(*) AS x {where}",
        "sum": f"SELECT SUM(value_as_number) AS x {where}",
        "mean": f"SELECT AVG(value_as_number) AS x {where}",
        "variance": f"SELECT VAR_SAMP(value_as_number) AS x {where}",
        "median": f"SELECT MEDIAN(value_as_number) AS x {where}",
        "groups": f"SELECT {day} AS day, COUNT(*) AS x {where} {by_day}",
    }


def post(url, key, body):
    """The server's answer; what it refuses ends the run."""
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as refusal:
        sys.exit(f"{body}: {refusal.read().decode()}")


def price(url, key, sql, task):
    """The largest rho of one question for which the plan of the series stays within epsilon, and that plan's epsilon; a day's at most."""

    def planned(units):
        question = {"sql": sql, "privacy": {"rho": f"{units / 10**9:.9f}"}}
        body = {"questions": [question], "repeats": task["questions"], "protocol": "accuracy"}
        return post(url + "/v1/budget/plan", key, body)["planned"]["epsilon"]

    low, high = 0, int(DAY * 10**9) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if planned(middle) <= task["epsilon"] else (low, middle)
    return low / 10**9, planned(low)


def ask(url, key, sql, rho):
    """The values of one answer's column `x`, and the standard deviation of noise that the answer states for the first."""
    body = {"sql": sql, "protocol": "accuracy", "privacy": {"rho": f"{rho:.9f}"}}
    answer = post(url + "/v1/statements", key, body)
    position = [column["name"] for column in answer["columns"]].index("x")
    stated = [column["role"] for column in answer["columns"]].index("sigma")
    return [row[position] for row in answer["rows"]], answer["rows"][0][stated]


def main():
    """Reads the task, prints the draws. A folder's day bounds how many repeats it can pay."""
    task = json.load(sys.stdin)
    draws, prices = {}, {}
    for measure, first in questions(0, task["days"]).items():
        process, url, key = serve(task, folder(task))
        left = DAY
        rho, shown = price(url, key, first, task)
        draws[measure] = []
        for repeat in range(task["repeats"]):
            if left < rho:
                stop(process)
                process, url, key = serve(task, folder(task))
                left = DAY
            values, sigma = ask(url, key, questions(repeat, task["days"])[measure], rho)
            prices[measure] = (rho, shown, sigma)
            left -= rho
            draws[measure].append(values if measure == "groups" else values[0])
        stop(process)
    print(json.dumps({**draws, "prices": prices}))


def stop(process):
    """Ends a server."""
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()
