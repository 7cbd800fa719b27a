"""Learning-rate schedules: callables from the share of training done, in [0, 1), to a factor of the rate."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, exp, pi


def constant(share: float) -> float:
    """Return 1."""
    return 1.0


def linear(share: float) -> float:
    """Return the share of training that is left, which falls from 1 to 0."""
    return 1 - share


def cosine(share: float) -> float:
    """Return the height of half a cosine, which falls from 1 to 0 (Loshchilov and Hutter 2017)."""
    return (1 + cos(pi * share)) / 2


# The words that every estimator with a parameter `schedule` takes.
SCHEDULES = {"constant": constant, "linear": linear, "cosine": cosine}


@dataclass(frozen=True)
class StepSchedule:
    """Piecewise constant: ``factors[i]`` applies from the share ``shares[i]`` on, and 1 before the first.

    Examples
    --------
    >>> schedule = StepSchedule(shares=(0.3, 0.9), factors=(0.5, 0.2))
    >>> [schedule(share) for share in (0, 0.29, 0.3, 0.89, 0.9)]
    [1.0, 1.0, 0.5, 0.5, 0.2]
    """

    shares: Sequence[float]
    factors: Sequence[float]

    def __post_init__(self) -> None:
        shares = list(self.shares)
        in_order = shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
        if len(shares) != len(self.factors) or not in_order:
            raise ValueError(
                "A StepSchedule needs one factor per share of training, with rising shares in [0, 1]. "
                f"Got shares={self.shares!r} and factors={self.factors!r} instead."
            )

    def __call__(self, share: float) -> float:
        """Return the factor when `share` of the training is done."""
        passed = bisect_right(self.shares, share)
        return self.factors[passed - 1] if passed else 1.0


@dataclass(frozen=True)
class ExponentialSchedule:
    """Constant up to the share `start`, then falling as exp(-(share - start) / time_constant).

    Examples
    --------
    >>> schedule = ExponentialSchedule(time_constant=0.1, start=0.5)
    >>> [round(schedule(share), 3) for share in (0, 0.5, 0.6)]
    [1.0, 1.0, 0.368]
    """

    time_constant: float
    start: float = 0.0

    def __post_init__(self) -> None:
        # Numbers of epochs, which are larger, would leave the rate as good as constant without a word.
        if not (0 < self.time_constant <= 1 and 0 <= self.start <= 1):
            raise ValueError(
                "An ExponentialSchedule needs shares of training, a time_constant in (0, 1] and a start in "
                f"[0, 1]. Got time_constant={self.time_constant!r} and start={self.start!r} instead."
            )

    def __call__(self, share: float) -> float:
        """Return the factor when `share` of the training is done."""
        return exp(-max(share - self.start, 0) / self.time_constant)
