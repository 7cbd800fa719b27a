"""The penalty on the Jacobian of a representation or of the logits."""

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor

from ..._base import integer, number, one_of
from ...functional import penalties
from ...functional.rectifier import rectifier_slope
from .._network import Perceptron
from ._base import Penalty
from ._batch import Batch

HOFFMAN_PROJECTIONS = 3


class Jacobian(Penalty):
    """The mean of ``|J(x)|_F ** 2``, the squared Frobenius norm of a Jacobian with respect to the row.

    With one hidden layer J is W, diag(f'(u)) W or V diag(f'(u)) W, each in closed form.

    Parameters
    ----------
    of : {"hidden", "preactivation", "logits"}, default="hidden"
        Whose Jacobian: that of the activations or the pre-activations of the last hidden layer, or of the
        logits. "logits" bought the most robustness for the accuracy in our experiments. Without a hidden
        layer it is the logits.
    alpha : float, default=1e-3
        Strength, as published.
    n_projections : int or "auto", default="auto"
        Number of random projections that estimate the norm [1]_. "auto" takes the exact closed form where
        there is one, up to one hidden layer, and 3 projections beyond.

    References
    ----------
    .. [1] Hoffman, Roberts, Yaida, "Robust Learning with Jacobian Regularization", 2019. arXiv:1908.02729
    """

    _parameter_rules = MappingProxyType(
        {
            "of": one_of("hidden", "preactivation", "logits"),
            "alpha": number("[0, inf)"),
            "n_projections": integer("[1, inf)", "auto"),
        }
    )

    def __init__(self, of: str = "hidden", *, alpha: float = 1e-3, n_projections: int | str = "auto") -> None:
        self.of = of
        self.alpha = alpha
        self.n_projections = n_projections

    def needs(self, network: Perceptron) -> str:
        """Return "input" for projections; the closed form needs "weights" where the slopes are constants."""
        if self._is_projected(network):
            return "input"
        return "weights" if network.power == 1 or self.of == "preactivation" else "activations"

    def value(self, batch: Batch) -> Tensor:
        """Return the mean squared norm, exact or estimated."""
        network = batch.network
        if self._is_projected(network):
            n = HOFFMAN_PROJECTIONS if isinstance(self.n_projections, str) else self.n_projections
            outputs = batch.representation(self.of)
            return penalties.jacobian_projected(outputs, batch.X, n, batch.generator, batch.weight)
        if not batch.preactivations:
            # Batch normalisation scales the columns of a lone layer, too.
            weights, _ = network.layers_in_prediction()
            return penalties.l2(weights)
        W = network.first_weight().T
        if self.of == "preactivation":
            return penalties.l2([W])
        slope = rectifier_slope(batch.preactivations[0], network.power)
        if self.of == "hidden":
            return penalties.jacobian_hidden(W, slope, batch.weight)
        return penalties.jacobian_logits(W, slope, network.last_weight().T, batch.weight)

    def gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the mean squared norm, and its gradients where slopes are constants."""
        W, *others = batch.weights
        if not others:
            return penalties.l2([W]), [2 * W]
        if self.of == "preactivation":
            return penalties.l2([W]), [2 * W, None]
        slope = rectifier_slope(batch.preactivations[0], 1)
        weighted = slope if batch.weight is None else slope * batch.weight[:, None]
        if self.of == "hidden":
            # Of slopes of 0 and 1 the square is the slope.
            share = weighted.mean(dim=0)
            return share @ W.square().sum(dim=0), [2 * share * W, None]
        (V,) = others
        moment = weighted.T @ slope / len(slope)
        gram, gram_last = W.T @ W, V @ V.T
        gram *= moment
        value = (gram * gram_last).sum()
        gram_last *= moment
        return value, [2 * (W @ gram_last), 2 * (gram @ V)]

    def _is_projected(self, network: Perceptron) -> bool:
        return self.n_projections != "auto" or network.n_hidden > 1
