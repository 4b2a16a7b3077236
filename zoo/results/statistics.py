"""The few distributions that verdicts need, exactly: Student's t and the binomial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key")


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t (Abramowitz and Stegun, 1964, 26.7.3 and 26.7.4, by bisection).

    Args:
        probability: from 0.5 on, below 1.
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while _t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_probability(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _t_probability(t: float, freedom: int) -> float:
    """The probability of at most t, for t of 0 and more."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    term = total = 1.0 if freedom % 2 == 0 else cosine
    for k in range(2 + freedom % 2, freedom, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    if freedom % 2 == 0:
        inside = math.sin(angle) * total
    else:
        inside = 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))
    return 0.5 + inside / 2


def sign_test(above: int, below: int) -> float:
    """The probability, both sides, of so uneven a split of fair coins."""
    coins, fewer = above + below, min(above, below)
    tail: float = sum(math.comb(coins, k) for k in range(fewer + 1)) / 2**coins
    return min(1.0, 2 * tail)


def holm(probabilities: Mapping[Key, float]) -> dict[Key, float]:
    """Probabilities of several tests, adjusted so that any false alarm is as rare as of one (Holm, 1979)."""
    adjusted: dict[Key, float] = {}
    largest = 0.0
    ordered = sorted(probabilities.items(), key=lambda item: item[1])
    for i, (key, probability) in enumerate(ordered):
        largest = max(largest, min(1.0, probability * (len(ordered) - i)))
        adjusted[key] = largest
    return adjusted
