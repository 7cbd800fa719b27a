"""The penalty on the gradient of the loss with respect to the row."""

from types import MappingProxyType

from torch import Tensor

from ..._base import number, one_of
from ...functional import penalties
from .._network import Perceptron
from ._base import Penalty
from ._batch import Batch


class InputGradient(Penalty):
    """The mean squared 2-norm, or the mean 1-norm, of the gradient of the cross-entropy by the row.

    Parameters
    ----------
    norm : {1, 2}, default=2
        The square of the 2-norm, or the 1-norm, which with the strength `alpha` is to first order what
        ``Adversarial(eps=alpha)`` does [1]_.
    alpha : float, default=0.01
        Strength.

    References
    ----------
    .. [1] Simon-Gabriel et al., "First-Order Adversarial Vulnerability of Neural Networks and Input
       Dimension", 2019. arXiv:1802.01421
    """

    _parameter_rules = MappingProxyType({"norm": one_of(1, 2), "alpha": number("[0, inf)")})

    def __init__(self, norm: float = 2, *, alpha: float = 0.01) -> None:
        self.norm = norm
        self.alpha = alpha

    def needs(self, network: Perceptron) -> str:
        """Return "input"."""
        return "input"

    def value(self, batch: Batch) -> Tensor:
        """Return the mean size of the gradient."""
        return penalties.input_gradient(batch.losses, batch.X, batch.weight, self.norm)
