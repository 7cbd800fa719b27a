"""Classifiers that model the distribution of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn import naive_bayes
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from torch import Tensor

from ...functional.layers import Affine, Layer
from .._registry import answering, converts, converts_classifier
from .linear import convert_linear

if TYPE_CHECKING:
    from .._registry import Target


class Quadratic(Layer):
    """``offset - |(X - mean) @ whiten|^2 / 2`` of each class.

    Parameters
    ----------
    means : list of Tensors of shape (n_features,)
    whiten : list of Tensors of shape (n_features, n_directions)
    offset : Tensor of shape (n_classes,)
    """

    def __init__(self, means: list[Tensor], whiten: list[Tensor], offset: Tensor) -> None:
        super().__init__(means=means, whiten=whiten, offset=offset)

    def forward(self, X: Tensor) -> Tensor:
        """Return the scores, of shape (n, n_classes)."""
        squares = [((X - mean) @ matrix).square().sum(dim=1) for mean, matrix in zip(self.means, self.whiten)]
        return self.offset - torch.stack(squares, dim=1) / 2


class Parabolas(Layer):
    """``offset - sum over the columns of precision * (X - mean)^2 / 2`` of each class.

    Parameters
    ----------
    mean, precision : Tensors of shape (n_classes, n_features)
    offset : Tensor of shape (n_classes,)
    """

    # Over a box of its inputs the bounds of sums are reached.
    exact_in_a_box = True

    def __init__(self, mean: Tensor, precision: Tensor, offset: Tensor) -> None:
        super().__init__(mean=mean, precision=precision, offset=offset)

    def forward(self, X: Tensor) -> Tensor:
        """Return the scores, of shape (n, n_classes)."""
        # Not expanded into X^2 - 2 X mean + mean^2, which cancels in float32.
        return self.offset - ((X[:, None] - self.mean).square() * self.precision).sum(dim=2) / 2

    def interval(self, lower: Any, upper: Any) -> Any:
        """Return the bounds of each score by itself."""
        unit = torch.eye(len(self.offset), dtype=lower.dtype, device=lower.device)[None]
        return self.relax(unit, lower, upper)[1], -self.relax(-unit, lower, upper)[1]

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[None, Tensor]:
        """Return the least value of ``A @ scores``, which is a sum of one parabola per column."""
        A = A.expand(len(lower), -1, -1)
        square, line = A @ self.precision, A @ (self.precision * self.mean)
        vertex = (line / torch.where(square < 0, square, 1.0)).clamp(lower[:, None], upper[:, None])
        # Where a parabola opens downward its vertex is no minimum, and one of the ends is.
        points = [lower[:, None], upper[:, None], torch.where(square < 0, vertex, lower[:, None])]
        lowest = torch.stack([self._parabolas(A, x) for x in points]).amin(dim=0)
        return None, A @ self.offset + lowest.sum(dim=2)

    def _parabolas(self, A: Tensor, x: Tensor) -> Tensor:
        """Return what each column adds to ``A @ scores`` at x, (n, k or 1, n_features); centred, as above."""
        squares = (x[:, :, None] - self.mean).square() * self.precision
        return -torch.einsum("nkc,nkcd->nkd", A, squares.expand(-1, A.shape[1], -1, -1)) / 2


@converts(LinearDiscriminantAnalysis)
def convert_linear_discriminant(analysis: BaseEstimator, target: Target) -> torch.nn.Module:
    """Decision values or, before another step, the projection on the discriminant directions."""
    if target.response != "transform":
        return answering(convert_linear)(analysis, target)
    n_directions = len(analysis.get_feature_names_out())
    shift = target.tensor(analysis.xbar_) if analysis.solver == "svd" else None
    return Affine(target.tensor(analysis.scalings_)[:, :n_directions], shift=shift)


@converts_classifier(QuadraticDiscriminantAnalysis)
def convert_quadratic_discriminant(analysis: BaseEstimator, target: Target) -> torch.nn.Module:
    """Logarithms of the class posteriors, up to a number common to the row."""
    # One matrix per class whitens it: distances are then Euclidean.
    whiten = [
        target.tensor(rotation / np.sqrt(scaling))
        for rotation, scaling in zip(analysis.rotations_, analysis.scalings_)
    ]
    means = [target.tensor(mean) for mean in analysis.means_]
    log_det = target.tensor([np.log(scaling).sum() for scaling in analysis.scalings_])
    return Quadratic(means, whiten, target.tensor(analysis.priors_).log() - log_det / 2)


@converts_classifier(naive_bayes.GaussianNB)
def convert_gaussian_bayes(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """Logarithms of the joint densities."""
    mean, precision = target.tensor(classifier.theta_), target.tensor(1 / classifier.var_)
    log_scale = target.tensor(2 * np.pi * classifier.var_).log().sum(dim=1) / 2
    return Parabolas(mean, precision, target.tensor(classifier.class_prior_).log() - log_scale)


@converts_classifier(naive_bayes.MultinomialNB, naive_bayes.ComplementNB)
def convert_count_bayes(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """Logarithms of the joint probabilities of counts, which are linear in the counts."""
    is_complement = isinstance(classifier, naive_bayes.ComplementNB)
    prior = None if is_complement else target.tensor(classifier.class_log_prior_)
    return Affine(target.tensor(classifier.feature_log_prob_).T.contiguous(), prior)
