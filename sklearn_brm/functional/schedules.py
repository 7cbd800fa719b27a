"""Learning-rate schedules: callables from the epoch, counted from 0, to a factor of the initial rate."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, exp, pi


@dataclass(frozen=True)
class StepSchedule:
    """Piecewise constant: ``factors[i]`` applies from epoch ``epochs[i]`` on, and 1 before the first.

    Examples
    --------
    >>> schedule = StepSchedule(epochs=(30, 90), factors=(0.5, 0.2))
    >>> [schedule(epoch) for epoch in (0, 29, 30, 89, 90)]
    [1.0, 1.0, 0.5, 0.5, 0.2]
    """

    epochs: Sequence[int]
    factors: Sequence[float]

    def __post_init__(self):
        if len(self.epochs) != len(self.factors) or list(self.epochs) != sorted(self.epochs):
            raise ValueError(
                "A StepSchedule needs one factor per epoch, with rising epochs. "
                f"Got epochs={self.epochs!r} and factors={self.factors!r} instead."
            )

    def __call__(self, epoch: int) -> float:
        """Return the factor in `epoch`."""
        passed = bisect_right(self.epochs, epoch)
        return self.factors[passed - 1] if passed else 1.0


@dataclass(frozen=True)
class ExponentialSchedule:
    """Constant up to epoch `start`, then falling as exp(-(epoch - start) / time_constant).

    Examples
    --------
    >>> schedule = ExponentialSchedule(time_constant=30, start=90)
    >>> [round(schedule(epoch), 3) for epoch in (0, 90, 120)]
    [1.0, 1.0, 0.368]
    """

    time_constant: float
    start: int = 0

    def __post_init__(self):
        if not self.time_constant > 0:
            raise ValueError(
                f"The time_constant of an ExponentialSchedule must be above 0. Got {self.time_constant!r}."
            )

    def __call__(self, epoch: int) -> float:
        """Return the factor in `epoch`."""
        return exp(-max(epoch - self.start, 0) / self.time_constant)


@dataclass(frozen=True)
class CosineSchedule:
    """Fall from 1 to 0 over `n_epochs` along half a cosine (Loshchilov and Hutter 2017), and stay at 0.

    The last epoch, ``n_epochs - 1``, still has a factor above 0. Give as many epochs as `max_iter`.

    Examples
    --------
    >>> schedule = CosineSchedule(n_epochs=4)
    >>> [round(schedule(epoch), 3) for epoch in (0, 1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    n_epochs: int

    def __post_init__(self):
        if not self.n_epochs >= 1:
            raise ValueError(f"The n_epochs of a CosineSchedule must be 1 or more. Got {self.n_epochs!r}.")

    def __call__(self, epoch: int) -> float:
        """Return the factor in `epoch`."""
        return (1 + cos(pi * min(epoch / self.n_epochs, 1))) / 2
