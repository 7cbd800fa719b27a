"""What the penalties on the loss at worst in a box around each row have in common."""

import math
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._base import as_numbers, number, parameter_error
from ...functional.worst_case import box_around
from ._base import Penalty
from ._batch import Batch


def low_and_high(owner: object, name: str, value: Any) -> None:
    """Check a parameter that is None or a pair of numbers, the first of which is below the second."""
    if value is None:
        return
    rule = "None or a tuple (low, high) of two floats with low < high"
    ends = as_numbers(owner, name, value, rule)
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise parameter_error(owner, name, rule, value, ValueError)


class LossInBox(Penalty):
    """The mean cross-entropy of bounds of the scores in a box around each row, which grows with its strength.

    A subclass has the parameters below, and `bound`.
    """

    eps: float
    ramp: float
    bounds: tuple[float, float] | None

    _parameter_rules = MappingProxyType(
        {
            "eps": number("[0, inf)"),
            "ramp": number("[0, 1)"),
            "bounds": low_and_high,
            "alpha": number("[0, inf)"),
        }
    )

    def is_settled(self, share: float) -> bool:
        """Return whether the ramp is over."""
        return share >= self.ramp

    def value(self, batch: Batch) -> Tensor:
        """Return the mean loss at worst, times how much of the ramp is done."""
        grown = 1.0 if self.is_settled(batch.share) else batch.share / self.ramp
        network = batch.network
        ends: Iterable[Any] = (-math.inf, math.inf) if self.bounds is None else map(float, self.bounds)
        low, high = ends if network.mean is None else (end - network.mean for end in ends)
        centre, radius = box_around(batch.X, grown * self.eps, low, high)
        weights, biases = network.layers_in_prediction()
        scores = self.bound(centre, radius, batch.y, weights, biases, network.power)
        return grown * batch.mean(cross_entropy(scores, batch.y, reduction="none"))

    def bound(
        self,
        centre: Tensor,
        radius: Tensor,
        y: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        power: float,
    ) -> Tensor:
        """Return how far each score may get above that of class y, as in `functional.worst_case`."""
        raise NotImplementedError
