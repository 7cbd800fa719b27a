"""The loss at worst in a box around each row, by interval bounds, as a penalty."""

import math
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._base import as_numbers, integer, number, parameter_error
from ...functional.worst_case import box_around, worst_scores
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


class Interval(Penalty):
    """The mean cross-entropy at the worst that interval bounds allow around each row [1]_.

    No row within `eps` has a larger loss than the bound, so that robustness is learned which can be proven,
    not only found by the attacks of today. During the first part of the training the box and the weight of
    the penalty grow in a line from 0, since from the start nothing but a constant would be learned.

    Parameters
    ----------
    eps : float, default=0.1
        How far rows may move in the maximum norm, in the units of the features.
    ramp : float, default=0.6
        Share of the training over which `eps` and the strength grow to what is asked for. 0 has them in full
        from the start, as `partial_fit` does.
    bounds : tuple (low, high) or None, default=None
        Smallest and largest value that every feature can have, such as (0, 1) for pixels; infinite ends are
        no bounds. A row outside moves only towards them.
    n_linear : int, default=0
        For how many classes of each row, those that come closest, the bounds are made tighter by linear
        functions [2]_. Each costs about as much as a pass without penalty.
    alpha : float, default=1.0
        Strength after the ramp; 1 counts the worst case as much as the row itself.

    Notes
    -----
    Epochs of the ramp are not judged by `tol` or `early_stopping`. With `batch_norm` the bound is that of the
    running statistics, as in prediction.

    References
    ----------
    .. [1] Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
       Models", 2018. arXiv:1810.12715
    .. [2] Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR
       2020. arXiv:1906.06316
    """

    _parameter_rules = MappingProxyType(
        {
            "eps": number("[0, inf)"),
            "ramp": number("[0, 1)"),
            "bounds": low_and_high,
            "n_linear": integer("[0, inf)"),
            "alpha": number("[0, inf)"),
        }
    )

    def __init__(
        self,
        eps: float = 0.1,
        *,
        ramp: float = 0.6,
        bounds: tuple[float, float] | None = None,
        n_linear: int = 0,
        alpha: float = 1.0,
    ) -> None:
        self.eps = eps
        self.ramp = ramp
        self.bounds = bounds
        self.n_linear = n_linear
        self.alpha = alpha

    def is_settled(self, share: float) -> bool:
        """Return whether the ramp is over."""
        return share >= self.ramp

    def value(self, batch: Batch) -> Tensor:
        """Return the mean loss at worst, times how much of the ramp is done."""
        grown = 1.0 if self.is_settled(batch.share) else batch.share / self.ramp
        network = batch.network
        low, high = (-math.inf, math.inf) if self.bounds is None else map(float, self.bounds)
        if network.mean is not None:
            low, high = low - network.mean, high - network.mean
        box = box_around(batch.X, grown * self.eps, low, high)
        layers = network.layers_in_prediction()
        scores = worst_scores(*box, batch.y, *layers, network.power, self.n_linear)
        return grown * batch.mean(cross_entropy(scores, batch.y, reduction="none"))
