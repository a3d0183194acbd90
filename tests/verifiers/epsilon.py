#!/usr/bin/env python3
"""epsilon.py RHO GAUSSIAN DELTA: the epsilon that a loss is worth at a delta, with 60 digits and the standard library.

RHO is what was charged; GAUSSIAN is the sum of D^2 / (2 (sigma^2 - 3)) over the draws if each of them is a discrete
Gaussian, or `any`. Of both conversions (claim 10 of the core's mechanism.md) the smaller one counts.
"""

import sys
from decimal import Decimal, getcontext

getcontext().prec = 60
HALF = Decimal("0.5")
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def tail(x):
    """P[a standard normal number is above x]."""
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    if x > 8:
        # Convergents of x + 1/(x + 2/(x + 3/..)) lie above and below in turn; 4,000 of them agree to far past 30 digits.
        below = x
        for k in range(4000, 0, -1):
            below = x + k / below
        return density / below
    # density (x + x^3/3 + x^5/15 + ..) is what lies between 0 and x.
    term, total, k = x, x, 1
    while abs(term) > Decimal("1e-58"):
        k += 2
        term *= x * x / k
        total += term
    return HALF - density * total


def gaussian_delta(mu, epsilon):
    """Delta at epsilon of two Gaussians of deviation 1 whose means are mu apart."""
    return tail(epsilon / mu - mu / 2) - epsilon.exp() * tail(epsilon / mu + mu / 2)


def halved(holds, high):
    """The least epsilon that holds, to far under a millionth."""
    low = Decimal(0)
    if holds(low):
        return low
    while high - low > Decimal("1e-12"):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def of_gaussian(gaussian, delta):
    """Epsilon of draws that are all Gaussian."""
    if not gaussian:
        return Decimal(0)
    # Past 500 the other conversion stands alone.
    mu, high = (2 * gaussian).sqrt(), Decimal(500)
    if gaussian_delta(mu, high) > delta:
        return Decimal("Infinity")
    return halved(lambda epsilon: gaussian_delta(mu, epsilon) <= delta, high)


def of_any(rho, delta):
    """Epsilon of any draws: the least over the order a, found where the slope changes its sign."""
    if not rho:
        return Decimal(0)

    def slope(x):
        return rho - (-delta.ln() - (1 + x).ln()) / (x * x)

    low, high = Decimal("1e-9"), Decimal(10) ** 9
    for _ in range(200):
        middle = (low * high).sqrt()
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    x = high
    return max(Decimal(0), rho * (1 + x) + (-delta.ln() - x.ln()) / x + (1 + x) / x * (x / (1 + x)).ln())


def epsilon(rho, gaussian, delta):
    """The least epsilon that is known to hold; gaussian is None where some draw is of another kind."""
    found = of_any(Decimal(rho), Decimal(delta))
    return found if gaussian is None else min(found, of_gaussian(Decimal(gaussian), Decimal(delta)))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    of_draws = None if sys.argv[2] == "any" else sys.argv[2]
    print(f"{epsilon(sys.argv[1], of_draws, sys.argv[3]):.9f}")
