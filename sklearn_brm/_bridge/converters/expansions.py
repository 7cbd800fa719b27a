"""Non-linear expansions: polynomials, splines and features of kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.interpolate import PPoly
from sklearn import kernel_approximation, preprocessing
from sklearn.base import BaseEstimator
from torch import Tensor

from ...functional.layers import Affine, Layer, sequence
from .._registry import converts
from .kernels import kernel_layer

if TYPE_CHECKING:
    from .._registry import Target


class Products(Layer):
    """Products of columns.

    Parameters
    ----------
    factors : Tensor of shape (n_outputs, n_factors), dtype int64
        The columns that each output multiplies, counted from 1; 0 stands for the factor one.
    """

    def __init__(self, factors: Tensor) -> None:
        super().__init__(factors=factors)

    def forward(self, X: Tensor) -> Tensor:
        """Return the products, of shape (n, n_outputs)."""
        # Column 0 is the factor one: every product then has the same number of factors.
        X = torch.cat([X.new_ones(len(X), 1), X], dim=1)
        product = X[:, self.factors[:, 0]]
        for column in self.factors.T[1:]:
            product = product * X[:, column]
        return product


class Splines(Layer):
    """B-splines of one column, as piecewise polynomials.

    Parameters
    ----------
    knots : Tensor of shape (n_pieces + 1,)
    coefficients : Tensor of shape (degree + 1, n_pieces, n_outputs)
        Of the powers of the distance from the left knot of the piece, the highest first.
    pieces : pair of int
        The first and the last piece, which go on beyond their outer ends.
    ends : pair of float
        Where extrapolation begins.
    extrapolation : {"constant", "linear", "continue", "periodic", "error"}
    """

    def __init__(
        self,
        knots: Tensor,
        coefficients: Tensor,
        *,
        pieces: tuple[int, int],
        ends: tuple[float, float],
        extrapolation: str,
    ) -> None:
        super().__init__(knots=knots, coefficients=coefficients)
        self.pieces, self.ends, self.extrapolation = pieces, ends, extrapolation

    def forward(self, X: Tensor) -> Tensor:
        """Return the splines, of shape (n, n_outputs)."""
        x, (low, high) = X[:, 0], self.ends
        if self.extrapolation == "periodic":
            return self._polynomial(low + (x - low) % (high - low))
        if self.extrapolation in ("continue", "error"):
            return self._polynomial(x)
        inside = x.clamp(low, high)
        if self.extrapolation == "constant":
            return self._polynomial(inside)
        slope = self._polynomial(inside, derivative=True)
        return self._polynomial(inside) + (x - inside)[:, None] * slope

    def _polynomial(self, x: Tensor, derivative: bool = False) -> Tensor:
        piece = torch.searchsorted(self.knots, x.detach().contiguous(), right=True) - 1
        piece = piece.clamp(*self.pieces)
        terms, distance = self.coefficients[:, piece], (x - self.knots[piece])[:, None]
        value, slope = terms[0], torch.zeros_like(terms[0])
        for term in terms[1:]:
            value, slope = value * distance + term, slope * distance + value
        return slope if derivative else value


class SideBySide(Layer):
    """A layer of its own for each column, and their outputs side by side."""

    def __init__(self, layers: list[Splines]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, X: Tensor) -> Tensor:
        """Return the outputs in one row."""
        return torch.cat([layer(X[:, i : i + 1]) for i, layer in enumerate(self.layers)], dim=1)


class Cosines(Layer):
    """``scale * cos(X)``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, X: Tensor) -> Tensor:
        """Return the cosines."""
        return self.scale * torch.cos(X)


@converts(preprocessing.PolynomialFeatures)
def convert_polynomial_features(expansion: BaseEstimator, target: Target) -> torch.nn.Module:
    """Products of the features, in the order of `powers_`."""
    return Products(torch.as_tensor(_factors(expansion.powers_), device=target.device))


@converts(preprocessing.SplineTransformer)
def convert_spline_transformer(transformer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Values of the B-splines of each feature, from the polynomials between their knots."""
    if transformer.degree == 0:
        raise target.refuse(transformer, "splines of degree 0 are step functions, whose gradient is zero")
    if getattr(transformer, "handle_missing", "error") == "zeros":
        raise target.refuse(transformer, "it turns missing values into zeros")
    if transformer.degree == 1 and transformer.extrapolation == "linear" and transformer.n_features_in_ > 1:
        raise target.refuse(
            transformer, "scikit-learn continues lines of degree 1 differently after the first feature"
        )
    return SideBySide([_spline_basis(spline, transformer, target) for spline in transformer.bsplines_])


@converts(kernel_approximation.RBFSampler)
def convert_rbf_sampler(sampler: BaseEstimator, target: Target) -> torch.nn.Module:
    """Cosines of random projections."""
    weights, offset = target.tensor(sampler.random_weights_), target.tensor(sampler.random_offset_)
    return sequence(Affine(weights, offset), Cosines((2 / len(sampler.random_offset_)) ** 0.5))


@converts(kernel_approximation.Nystroem)
def convert_nystroem(nystroem: BaseEstimator, target: Target) -> torch.nn.Module:
    """Kernel values with the sampled rows, normalised."""
    given = {"gamma": nystroem.gamma, "coef0": nystroem.coef0, "degree": nystroem.degree}
    parameters = {name: value for name, value in given.items() if value is not None} | (
        nystroem.kernel_params or {}
    )
    # What pairwise_kernels takes where nothing is given.
    parameters = {"gamma": 1 / nystroem.n_features_in_, "coef0": 1.0, "degree": 3} | parameters
    kernel = kernel_layer(nystroem, nystroem.components_, target, **parameters)
    return sequence(kernel, Affine(target.tensor(nystroem.normalization_).T.contiguous()))


def _factors(powers: np.ndarray) -> np.ndarray:
    """Indices (1-based, 0 for the factor one) of the features that each output multiplies."""
    factors = np.zeros((len(powers), max(1, powers.sum(axis=1).max())), dtype=int)
    for row, exponents in zip(factors, powers):
        features = np.repeat(np.arange(1, len(exponents) + 1), exponents)
        row[: len(features)] = features
    return factors


def _spline_basis(spline: Any, transformer: BaseEstimator, target: Target) -> Splines:
    """Return the layer from one feature to its basis functions, as `SplineTransformer` extrapolates."""
    pieces = [PPoly.from_spline((spline.t, column, spline.k)) for column in spline.c.T]
    edges, coefficients = pieces[0].x, np.stack([piece.c for piece in pieces], axis=2)
    low, high = (float(spline.t[i]) for i in (spline.k, -spline.k - 1))
    n_kept = coefficients.shape[2] - (not transformer.include_bias)
    # Empty intervals at repeated outer knots have no say in what is extrapolated.
    first = int(np.searchsorted(edges, low, side="right")) - 1
    last = int(np.searchsorted(edges, high, side="left")) - 1
    return Splines(
        target.tensor(edges),
        target.tensor(coefficients[:, :, :n_kept]),
        pieces=(first, last),
        ends=(low, high),
        extrapolation=transformer.extrapolation,
    )
