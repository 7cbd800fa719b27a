"""The loss at worst in a box around each row, by interval bounds, as a penalty."""

from collections.abc import Sequence

from torch import Tensor

from ...functional.worst_case import worst_scores
from ._loss_in_box import LossInBox


class Interval(LossInBox):
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
    alpha : float, default=1.0
        Strength after the ramp; 1 counts the worst case as much as the row itself.

    See Also
    --------
    LinearRelaxation : Closer bounds, for longer training.

    Notes
    -----
    Epochs of the ramp are not judged by `tol` or `early_stopping`. With `batch_norm` the bound is that of the
    running statistics, as in prediction.

    References
    ----------
    .. [1] Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
       Models", 2018. arXiv:1810.12715
    """

    def __init__(
        self,
        eps: float = 0.1,
        *,
        ramp: float = 0.6,
        bounds: tuple[float, float] | None = None,
        alpha: float = 1.0,
    ) -> None:
        self.eps = eps
        self.ramp = ramp
        self.bounds = bounds
        self.alpha = alpha

    def bound(
        self,
        centre: Tensor,
        radius: Tensor,
        y: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        power: float,
    ) -> Tensor:
        """Return the bounds of interval arithmetic."""
        return worst_scores(centre, radius, y, weights, biases, power)
