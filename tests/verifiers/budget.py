#!/usr/bin/env python3
"""budget.py DIR: the budget that an audit log's entries add up to, folded with Python's standard library alone.

Reads what `checkpoint` signs and nothing else, so a running server does no harm. Besides the sums it requires of each
intent that its rho is that of its draws, that each discrete Gaussian is paid (rho * 2 * sigma^2 >= D^2), and that the
state which it read is the fold of the intents before it. Prints one JSON object: size, what is spent at each level with
its epsilon at the policy's delta_rep, and how many questions ended in which way.
"""

import json
import math
import sys
from fractions import Fraction
from pathlib import Path

from epsilon import epsilon
from verify import WIDTH, Broken, fold, read_checkpoint, read_tile, require, sha256, split


def read_entries(folder):
    """Every entry under the signed head; their tree has its root."""
    _, size, root = read_checkpoint(folder)
    entries = []
    for index in range(0, size, WIDTH):
        width = min(WIDTH, size - index)
        entries += split(read_tile(folder, "entries", index // WIDTH, width), width)
    require(fold([sha256(b"\0", entry) for entry in entries]) == root, "the root is not that of the entries")
    return entries


def plain(number, places):
    """A sum as a decimal without needless zeros."""
    whole, rest = divmod(number * 10**places, 10**places)
    require(rest.denominator == 1, "a price has too many places")
    return f"{whole}.{int(rest):0{places}}".rstrip("0").rstrip(".")


def check_intent(intent, spent, intents, opening):
    """What an intent says of itself, and of those before it. A window that its series' opening paid for repeats it, free."""
    draws, price = intent["primitives"], Fraction(intent["rho"])
    if opening is None:
        require(price == sum(Fraction(draw["rho"]) for draw in draws), "its rho is not that of its draws")
    else:
        free = price == Fraction(intent["delta"]) == 0
        require(free and draws == opening["primitives"], "it is not a window of the series that it names")
    for draw in draws:
        paid = Fraction(draw["rho"]) * 2 * Fraction(draw["sigma"]) ** 2 >= int(draw["d_squared"])
        require(paid or intent["finer"] is not None or draw["mechanism"] != "discrete_gaussian", "a draw is not paid")
    state = intent["state"]
    read = [Fraction(state["rho"]), Fraction(state["delta"])]
    require((state["intents"], read) == (intents, spent), "the state that it read is not the fold before it")


def gaussian_units(intent):
    """What its draws are worth in a sum of Gaussians, D^2 / (2 (sigma^2 - 3)) each, in 1e-12; infinite for other draws."""
    units = 0
    for draw in intent["primitives"] if Fraction(intent["rho"]) else []:
        left = Fraction(draw["sigma"]) ** 2 - 3
        if draw["mechanism"] != "discrete_gaussian" or left <= 0:
            return math.inf
        units += math.ceil(int(draw["d_squared"]) * 10**12 / (2 * left))
    return units


def fold_budget(entries):
    spent, opened, ended = {}, {}, {"answered": 0, "failed": 0, "abandoned": 0}
    intents, worth, openings, policies, time = 0, {}, {}, [], 0
    for index, entry in enumerate(entries):
        body, kind = (value := json.loads(entry))["body"], value["type"]
        if kind in ("query.intent", "policy.set"):
            time = max(time, body["time"])
        if kind == "query.intent":
            levels = [("id_space", body["id_space"]), ("protocol", body["protocol"]), ("principal", body["principal"])]
            of_series = (body.get("series") or {}).get("opened")
            opening = None if of_series is None else openings[of_series]
            check_intent(body, spent.get(levels[0], [0, 0]), intents, opening)
            if "series" in body and opening is None:
                openings[index] = body
            for level in levels:
                rho, delta = spent.get(level, [0, 0])
                spent[level] = [rho + Fraction(body["rho"]), delta + Fraction(body["delta"])]
                worth[level] = worth.get(level, 0) + gaussian_units(body)
            opened[index], intents = body["query_id"], intents + 1
        elif kind == "policy.set":
            policies.append((body["effective"], body["terms"]["delta_rep"]))
        elif kind == "query.outcome":
            require(opened.pop(body["intent"], None) == body["query_id"], f"entry {index} ends no open intent")
            ended[body["outcome"]] += 1
    # Of the policies whose time has come, the last.
    delta_rep = next((delta for effective, delta in reversed(policies) if effective <= time), None)
    levels = {}
    for (level, name), (rho, delta) in spent.items():
        sums = {"rho": plain(rho, 12), "delta": plain(delta, 18)}
        units = worth[level, name]
        gaussian = None if units == math.inf else plain(Fraction(units, 10**12), 12)
        sums["epsilon"] = float(round(epsilon(sums["rho"], gaussian, delta_rep), 9))
        levels.setdefault(level, {})[name] = sums
    return {"size": len(entries), "spent": levels, "intents": intents, "open": len(opened), **ended}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(json.dumps(fold_budget(read_entries(Path(sys.argv[1])))))
    except (Broken, OSError, ValueError, KeyError, TypeError) as error:
        print(f"BROKEN {error}", file=sys.stderr)
        sys.exit(1)
