"""What losses are divided by."""

from __future__ import annotations

import pytest

from zoo.models.losses.divisors import DivisorName, find_divisor

POSITIVES, NEGATIVES = (3, 0), (5, 0)
NONE = (0, 0)


@pytest.mark.parametrize(
    ("name", "some", "none"), [("sampled", 8, 1), ("sampled_per_image", 10, 4), ("positives", 4, 2)]
)
def test_divisors_count(name: DivisorName, some: int, none: int) -> None:
    assert find_divisor(name)(POSITIVES, NEGATIVES) == pytest.approx(some, abs=1e-6)
    assert find_divisor(name)(NONE, NONE) == pytest.approx(none, abs=1e-6)
    assert find_divisor(name)(NONE, NONE) > none


def test_the_last_image_may_decide_for_all() -> None:
    divisor = find_divisor("sampled_in_last")
    assert divisor((3, 2), (5, 4)) == 2 * 6
    assert divisor(POSITIVES, NEGATIVES) == 2


def test_a_number_is_so_many_an_image() -> None:
    assert find_divisor(256)(POSITIVES, NEGATIVES) == 512


def test_unknown_divisors_are_errors() -> None:
    with pytest.raises(
        ValueError, match="divisor: 'everything', known are sampled, sampled_per_image, sampled_in_last, positives"
    ):
        find_divisor("everything")  # type: ignore[arg-type] # on purpose


def test_the_positives_of_a_batch_count_together() -> None:
    divisor = find_divisor("positives_of_batch")
    assert (divisor(POSITIVES, NEGATIVES), divisor(NONE, NONE)) == (3, 1)
