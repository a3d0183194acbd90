"""OpenDP's side of accuracy.py: a zCDP compositor over Polars, truncated by patient; variance by its framework."""

import json
import sys

import opendp.prelude as dp
import polars as pl

dp.enable_features("contrib")

CANDIDATES = 1000


def whole_rho(epsilon, delta):
    """The largest rho whose (epsilon, delta) by OpenDP's own conversion is within the asked one."""
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.l2_distance(T=float)

    def fits(rho):
        draw = dp.m.make_gaussian(*space, scale=(1 / (2 * rho)) ** 0.5)
        profile = dp.c.make_zCDP_to_approxDP(draw).map(1.0)
        return profile.epsilon(delta) <= epsilon

    low, high = 0.0, epsilon
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def main():
    """Reads the task, prints the draws."""
    task = json.load(sys.stdin)
    total = whole_rho(task["epsilon"], task["delta"])
    rows = pl.read_csv(task["data"])
    count, repeats = rows.height, task["repeats"]
    low, high = task["low"], task["high"]
    grid = [low + (high - low) * i / CANDIDATES for i in range(CANDIDATES + 1)]
    unit = dp.unit_of(contributions=1, identifier=pl.col("pid"))
    keys = pl.LazyFrame({"day": range(task["days"])}, schema={"day": pl.Int64})

    def context():
        return dp.Context.compositor(
            data=rows.lazy(),
            privacy_unit=unit,
            privacy_loss=dp.loss_of(rho=total),
            split_evenly_over=task["questions"],
            margins=[
                dp.polars.Margin(by=[], max_length=2 * count, invariant="keys"),
                dp.polars.Margin(by=["day"], max_length=2 * count, invariant="keys"),
            ],
        )

    value = pl.col("value").fill_null(0.0).fill_nan(0.0)
    of = {
        "count": dp.len(signed=True),
        "sum": value.dp.sum((low, high)),
        "mean": value.dp.mean((low, high)),
        "median": value.dp.median(grid),
    }
    draws = {}
    for measure, expression in of.items():
        column = []
        for _ in range(repeats):
            released = context().query().truncate_per_group(task["rows"]).select(expression).release().collect()
            column.append(float(released.row(0)[0]))
        draws[measure] = column
    draws["groups"] = []
    for _ in range(repeats):
        query = context().query().truncate_per_group(task["rows"], by=["day"])
        query = query.truncate_num_groups(task["groups"], by=["day"], keep="first")
        released = query.group_by("day").agg(n=dp.len(signed=True)).with_keys(keys).release().collect()
        days = [0.0] * task["days"]
        for day, n in released.select("day", "n").iter_rows():
            days[day] = float(n)
        draws["groups"].append(days)

    # Polars has no variance in OpenDP: its framework's, of a vector resized to the (public) number of rows.
    vector = rows["value"].to_list()
    domain = dp.vector_domain(dp.atom_domain(T=float, nan=False))
    chain = (
        (domain, dp.symmetric_distance())
        >> dp.t.then_clamp((low, high))
        >> dp.t.then_resize(count, constant=(low + high) / 2)
        >> dp.t.then_variance()
    )
    reach = chain.map(task["rows"])
    scale = reach / (2 * total / task["questions"]) ** 0.5
    noisy = chain >> dp.m.then_gaussian(scale)
    draws["variance"] = [float(noisy(vector)) for _ in range(repeats)]
    print(json.dumps(draws))


if __name__ == "__main__":
    main()
