"""The loss at worst in a box around each row, by linear bounds, as a penalty."""

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor

from ..._base import integer, number
from ...functional.worst_case import relaxed_scores
from ._loss_in_box import LossInBox


class LinearRelaxation(LossInBox):
    """The mean cross-entropy at the worst that linear bounds allow around each row [1]_ [2]_.

    As `Interval`, with bounds that know what the units have in common, so that the network need not be made
    so tame to be proven: it keeps more of its accuracy and of its robustness. It costs more, and what it
    trains is best proven by `certify`, whose linear bounds and search find what intervals do not.

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
    n_classes : int, default=1
        For how many classes of each row, those with the largest scores beside its own, the worst is bounded.
        The others count as they are in the middle of the box: only with all classes, and ``share=1``, is the
        penalty an upper bound of the loss. Each costs about as much as a pass without penalty.
    share : float, default=1.0
        What the bound counts in the scores at worst [3]_. The rest counts the row in the box where the linear
        bound would be reached, an attack that costs one more pass. Less than 1 trains networks that resist
        more, and of which `certify` proves more where it has time to search.
    alpha : float, default=1.0
        Strength after the ramp; 1 counts the worst case as much as the row itself.

    See Also
    --------
    Interval : Cheaper bounds.

    Notes
    -----
    Epochs of the ramp are not judged by `tol` or `early_stopping`. With `batch_norm` the bound is that of the
    running statistics, as in prediction. Units of a layer behind the first are bounded by intervals.

    References
    ----------
    .. [1] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer Adversarial
       Polytope", ICML 2018. arXiv:1711.00851
    .. [2] Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR
       2020. arXiv:1906.06316
    .. [3] De Palma et al., "Expressive Losses for Verified Robustness via Convex Combinations", ICLR 2024.
       arXiv:2305.13991
    """

    _parameter_rules = MappingProxyType(
        {**LossInBox._parameter_rules, "n_classes": integer("[1, inf)"), "share": number("[0, 1]")}
    )

    def __init__(
        self,
        eps: float = 0.1,
        *,
        ramp: float = 0.6,
        bounds: tuple[float, float] | None = None,
        n_classes: int = 1,
        share: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        self.eps = eps
        self.ramp = ramp
        self.bounds = bounds
        self.n_classes = n_classes
        self.share = share
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
        """Return the bounds by linear functions."""
        return relaxed_scores(centre, radius, y, weights, biases, power, self.n_classes, self.share)
