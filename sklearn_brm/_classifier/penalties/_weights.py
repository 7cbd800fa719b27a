"""Penalties of the weights alone."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import cast

from torch import Tensor

from ..._base import number, one_of
from ...functional import penalties
from .._network import Perceptron
from ._base import Penalty
from ._batch import Batch

_RULES = MappingProxyType({"alpha": number("[0, inf)"), "intercepts": one_of(True, False)})


class L1(Penalty):
    """The sum of the absolute values of all weights, not divided by the number of rows.

    It is measured on what `coefs_` shows, or with `batch_norm`, before that is merged into the last layer.

    Parameters
    ----------
    alpha : float, default=1e-5
        Strength.
    intercepts : bool, default=False
        Whether the intercepts count, too, and with `batch_norm` its scale and shift.
    """

    _parameter_rules = _RULES

    def __init__(self, alpha: float = 1e-5, *, intercepts: bool = False) -> None:
        self.alpha = alpha
        self.intercepts = intercepts

    def needs(self, network: Perceptron) -> str:
        """Return "weights"."""
        return "weights"

    def value(self, batch: Batch) -> Tensor:
        """Return the sum of absolute values."""
        return penalties.l1(_counted(batch, self.intercepts))

    def gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor | None]] | None:
        """Return the sum of absolute values, and the signs of the weights."""
        if self.intercepts:
            return None
        weights = batch.weights
        total = cast(Tensor, sum(weight.abs().sum(dim=(-2, -1)) for weight in weights))
        return total, [weight.sign() for weight in weights]

    def _stacks(self, network: Perceptron) -> bool:
        return not self.intercepts


class L2(Penalty):
    """The sum of the squares of all weights, not halved, and not divided by the number of rows.

    It is measured on what `coefs_` shows, or with `batch_norm`, before that is merged into the last layer. A
    linear classifier under it has the optimum of ``LogisticRegression(C=1 / (2 * n_samples * alpha))``.

    Parameters
    ----------
    alpha : float, default=5e-4
        Strength, as published.
    intercepts : bool, default=False
        Whether the intercepts count, too, and with `batch_norm` its scale and shift.
    """

    _parameter_rules = _RULES

    def __init__(self, alpha: float = 5e-4, *, intercepts: bool = False) -> None:
        self.alpha = alpha
        self.intercepts = intercepts

    def needs(self, network: Perceptron) -> str:
        """Return "weights"."""
        return "weights"

    def value(self, batch: Batch) -> Tensor:
        """Return the sum of squares."""
        return penalties.l2(_counted(batch, self.intercepts))

    def gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor | None]] | None:
        """Return the sum of squares, and twice the weights."""
        if self.intercepts:
            return None
        weights = batch.weights
        return cast(Tensor, sum(map(sum_of_squares, weights))), [2 * weight for weight in weights]

    def _stacks(self, network: Perceptron) -> bool:
        return not self.intercepts


def sum_of_squares(weight: Tensor) -> Tensor:
    """Return the sum of the squares of a matrix, or of each of several."""
    return weight.square().sum(dim=(-2, -1))


def _counted(batch: Batch, intercepts: bool) -> list[Tensor]:
    if not intercepts:
        return batch.weights
    norm = batch.network.norm
    return [*batch.weights, *batch.intercepts, *([] if norm is None else norm.parameters())]
