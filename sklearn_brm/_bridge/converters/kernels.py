"""Support vector machines, and the kernels they share with others."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.svm import SVC, NuSVC
from torch import Tensor

from ...functional.layers import Affine, Layer, Power, SShaped, TwoColumns, sequence
from .._registry import converts_classifier
from .linear import no_probabilities

if TYPE_CHECKING:
    from .._registry import Target

# A decision value of a pair that is worth half a vote; the margin lies at 1.
_HALF_A_VOTE = 0.3
# By how much the predicted class leads where only the count of votes speaks for it.
_LEAD = 1e-3


class RadialBasis(Layer):
    """``exp(-gamma * |x - row|^2)`` of each row of a batch and each of some rows.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
    gamma : float
    """

    def __init__(self, rows: Tensor, gamma: float) -> None:
        super().__init__(rows=rows)
        self.gamma = float(gamma)

    def forward(self, X: Tensor) -> Tensor:
        """Return the values, of shape (n, n_rows)."""
        return torch.exp(-self.gamma * _squared_distances(X, self.rows))

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values at the largest and the least distance."""
        nearest, farthest = self._reach(lower, upper)
        return torch.exp(-self.gamma * farthest), torch.exp(-self.gamma * nearest)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return lines in the squared distance, which itself lies between its tangent plane and a chord.

        The exponential is convex: a tangent bounds it from below, where the distance counts as its chord over
        each column, and a chord from above, where it counts as its tangent plane at the centre of the box.
        """
        nearest, farthest = self._reach(lower, upper)
        low, high = torch.exp(-self.gamma * farthest), torch.exp(-self.gamma * nearest)
        centre = (lower + upper) / 2
        touched = _squared_distances(centre, self.rows)
        value = torch.exp(-self.gamma * touched)
        width = (farthest - nearest).clamp_min(torch.finfo(A.dtype).tiny)
        below = A.clamp(min=0) * (-self.gamma * value)[:, None]
        above = A.clamp(max=0) * ((low - high) / width)[:, None]
        # The chord of (x - s)^2 over [l, u] is (l + u - 2 s) x + s^2 - l u; the tangent has c^2 for l u.
        slopes = below + above
        A_in = 2 * (slopes.sum(dim=2, keepdim=True) * centre[:, None] - slopes @ self.rows)
        size = self.rows.square().sum(dim=1)
        at_chord = size - (lower * upper).sum(dim=1, keepdim=True) - touched
        at_tangent = size - centre.square().sum(dim=1, keepdim=True) - nearest
        constant = below * at_chord[:, None] + A.clamp(min=0) * value[:, None]
        constant = constant + above * at_tangent[:, None] + A.clamp(max=0) * high[:, None]
        return A_in, constant.sum(dim=2)

    def _reach(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least and the largest squared distance of each row from anything in a box."""
        low, high = lower[:, None] - self.rows, upper[:, None] - self.rows
        nearest = torch.maximum(low, -high).clamp(min=0).square().sum(dim=2)
        return nearest, torch.maximum(low.abs(), high.abs()).square().sum(dim=2)

    def extra_repr(self) -> str:
        """Return the number of rows."""
        return f"{len(self.rows)} rows"


class VoteCounts(Layer):
    """The decision function "ovr" of a machine of several classes, from the decision values of its pairs."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, X: Tensor) -> Tensor:
        """Return the votes, less than one of them from the sum of decision values: shape (n, n_classes)."""
        return _votes_and_decision(X, self.n_classes)[1]


class Duels(Layer):
    """How near each class is to winning all its duels, where the argmax is what the votes say."""

    def __init__(self, n_classes: int, breaks_ties: bool) -> None:
        super().__init__()
        self.n_classes, self.breaks_ties = n_classes, breaks_ties

    def forward(self, X: Tensor) -> Tensor:
        """Return the scores, of shape (n, n_classes)."""
        votes, decision = _votes_and_decision(X, self.n_classes)
        winner = (decision if self.breaks_ties else votes).argmax(dim=1, keepdim=True)
        return _raised(_strength(X, self.n_classes), winner)

    def contests(self, y: np.ndarray, like: Any) -> Any:
        """Return the matrices of the duels of class y with each class, (n, n_classes, n_pairs)."""
        first, second = _pairs(self.n_classes, y.device)
        classes = torch.arange(self.n_classes, device=y.device)[None, :, None]
        own = y[:, None, None]
        won = ((first == own) & (second == classes)).to(like.dtype)
        return won - ((second == own) & (first == classes)).to(like.dtype)


@converts_classifier(SVC, NuSVC, log_proba=no_probabilities)
def convert_svc(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """The decision value of two classes, or of several the smoothed votes and the least duel of each.

    The decision function of several classes counts votes, which is flat: attacks that follow its gradient
    break far fewer rows than those that follow the pairs of classes which have to flip.
    """
    # The fitted gamma, which may be estimated from the data, has no public name.
    parameters = {"gamma": classifier._gamma, "coef0": classifier.coef0, "degree": classifier.degree}
    kernel = kernel_layer(classifier, classifier.support_vectors_, target, **parameters)
    dual_coef, intercept = target.tensor(classifier.dual_coef_), target.tensor(classifier.intercept_)
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        return sequence(kernel, Affine(dual_coef.T.contiguous(), intercept), TwoColumns())
    coef = _coefficients_of_pairs(dual_coef, classifier.n_support_)
    votes = (
        VoteCounts(n_classes) if target.response == "decision" else Duels(n_classes, classifier.break_ties)
    )
    return sequence(kernel, Affine(coef.T.contiguous(), intercept), votes)


def kernel_layer(
    estimator: BaseEstimator, rows: Any, target: Target, *, gamma: float, coef0: float, degree: int
) -> RadialBasis | torch.nn.Module:
    """Return the module from X to its kernel values with `rows`."""
    kernel, rows = estimator.kernel, target.tensor(rows)
    if kernel == "linear":
        return Affine(rows.T.contiguous())
    if kernel == "rbf":
        return RadialBasis(rows, gamma)
    if kernel not in ("poly", "polynomial", "sigmoid"):
        raise target.refuse(estimator, f"its kernel {kernel!r} is not known in torch")
    products = Affine(gamma * rows.T.contiguous(), torch.full_like(rows[:, 0], float(coef0)))
    return sequence(products, SShaped("tanh") if kernel == "sigmoid" else Power(degree))


def _squared_distances(X: Tensor, rows: Any) -> Tensor:
    # Around a common centre the three terms are small, and cancel less.
    centre = rows.mean(dim=0)
    X, rows = X - centre, rows - centre
    squares = X.square().sum(dim=1, keepdim=True) + rows.square().sum(dim=1) - 2 * X @ rows.T
    return squares.clamp(min=0)


def _pairs(n_classes: int, device: Any) -> Tensor:
    """First and second class of every pair, in libsvm's order."""
    return torch.tensor(list(itertools.combinations(range(n_classes), 2)), device=device).T


def _votes_and_decision(pairs: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Votes of each class, and `decision_function` in the shape "ovr".

    Column k of `pairs` is positive where the k-th pair votes for its first class. The decision adds less
    than a vote for the sum of the decision values.
    """
    one_hot = torch.nn.functional.one_hot(_pairs(n_classes, pairs.device), n_classes)
    first, second = one_hot.to(pairs.dtype)
    against = (pairs < 0).to(pairs.dtype)
    votes, total = (1 - against) @ first + against @ second, pairs @ (first - second)
    return votes, votes + total / (3 * (total.abs() + 1))


def _strength(pairs: Tensor, n_classes: int) -> Tensor:
    """Sum of each class's votes, smoothed, and its least decision value against any other.

    Near the boundary the least duel is the one that has to flip; far from it, where every duel is nearly
    lost, the smoothed votes say which to win first, and unlike a sigmoid they never go flat.
    """
    first, second = _pairs(n_classes, pairs.device)
    duels = pairs.new_zeros((len(pairs), n_classes, n_classes))
    duels[:, first, second], duels[:, second, first] = pairs, -pairs
    votes = (duels / (_HALF_A_VOTE + duels.abs())).sum(dim=2)
    itself = torch.eye(n_classes, dtype=torch.bool, device=pairs.device)
    return votes + duels.masked_fill(itself, torch.inf).amin(dim=2)


def _raised(scores: Tensor, winner: Tensor) -> Tensor:
    """Add a constant to the score of the winner so that it leads, where the count of votes says otherwise."""
    best, leader = scores.detach().max(dim=1, keepdim=True)
    lag = best - scores.detach().gather(1, winner)
    return scores.scatter_add(1, winner, (lag + _LEAD) * (leader != winner))


def _coefficients_of_pairs(dual_coef: Tensor, n_support: np.ndarray) -> Tensor:
    """Spread libsvm's coefficients, (n_classes - 1, n_rows), over one line per pair of classes.

    A support vector of class i has one coefficient for each other class j, in row j, or j - 1 where j > i.
    """
    ends = np.cumsum(n_support)
    of_class = [slice(end - n, end) for end, n in zip(ends, n_support)]
    pairs = list(itertools.combinations(range(len(n_support)), 2))
    coef = dual_coef.new_zeros(len(pairs), dual_coef.shape[1])
    for line, (i, j) in zip(coef, pairs):
        line[of_class[i]] = dual_coef[j - 1, of_class[i]]
        line[of_class[j]] = dual_coef[i, of_class[j]]
    return coef
