"""Non-linear expansions: polynomials, splines and features of kernels."""

import numpy as np
import torch
from scipy.interpolate import PPoly
from sklearn import kernel_approximation, preprocessing

from ._kernels import kernel_function
from ._registry import converts


@converts(preprocessing.PolynomialFeatures)
def convert_polynomial_features(expansion, target):
    """Products of the features, in the order of `powers_`."""
    factors = torch.as_tensor(_factors(expansion.powers_), device=target.device)

    def expand(X):
        # Column 0 is the factor one: every product then has the same number of factors.
        X = torch.cat([X.new_ones(len(X), 1), X], dim=1)
        product = X[:, factors[:, 0]]
        for k in range(1, factors.shape[1]):
            product = product * X[:, factors[:, k]]
        return product

    return expand


@converts(preprocessing.SplineTransformer)
def convert_spline_transformer(transformer, target):
    """Values of the B-splines of each feature, from the polynomials between their knots."""
    if transformer.degree == 0:
        raise target.refuse(transformer, "splines of degree 0 are step functions, whose gradient is zero")
    if getattr(transformer, "handle_missing", "error") == "zeros":
        raise target.refuse(transformer, "it turns missing values into zeros")
    if transformer.degree == 1 and transformer.extrapolation == "linear" and transformer.n_features_in_ > 1:
        raise target.refuse(
            transformer, "scikit-learn continues lines of degree 1 differently after the first feature"
        )
    columns = [_spline_basis(spline, transformer, target) for spline in transformer.bsplines_]
    return lambda X: torch.cat([basis(X[:, i]) for i, basis in enumerate(columns)], dim=1)


@converts(kernel_approximation.RBFSampler)
def convert_rbf_sampler(sampler, target):
    """Cosines of random projections."""
    weights, offset = target.tensor(sampler.random_weights_), target.tensor(sampler.random_offset_)
    scale = (2 / len(sampler.random_offset_)) ** 0.5
    return lambda X: scale * torch.cos(X @ weights + offset)


@converts(kernel_approximation.Nystroem)
def convert_nystroem(nystroem, target):
    """Kernel values with the sampled rows, normalised."""
    given = {"gamma": nystroem.gamma, "coef0": nystroem.coef0, "degree": nystroem.degree}
    parameters = {name: value for name, value in given.items() if value is not None} | (
        nystroem.kernel_params or {}
    )
    # What pairwise_kernels takes where nothing is given.
    parameters = {"gamma": 1 / nystroem.n_features_in_, "coef0": 1.0, "degree": 3} | parameters
    kernel = kernel_function(nystroem, nystroem.components_, target, **parameters)
    normalization = target.tensor(nystroem.normalization_)
    return lambda X: kernel(X) @ normalization.T


def _factors(powers):
    """Indices (1-based, 0 for the factor one) of the features that each output multiplies."""
    factors = np.zeros((len(powers), max(1, powers.sum(axis=1).max())), dtype=int)
    for row, exponents in zip(factors, powers):
        features = np.repeat(np.arange(1, len(exponents) + 1), exponents)
        row[: len(features)] = features
    return factors


def _spline_basis(spline, transformer, target):
    """Function from one feature, shape (n,), to its basis functions, as `SplineTransformer` extrapolates."""
    pieces = [PPoly.from_spline((spline.t, column, spline.k)) for column in spline.c.T]
    edges, coefficients = pieces[0].x, np.stack([piece.c for piece in pieces], axis=2)
    knots, coefficients = target.tensor(edges), target.tensor(coefficients)
    low, high = (float(spline.t[i]) for i in (spline.k, -spline.k - 1))
    n_kept = coefficients.shape[2] - (not transformer.include_bias)
    # Empty intervals at repeated outer knots have no say in what is extrapolated.
    first = int(np.searchsorted(edges, low, side="right")) - 1
    last = int(np.searchsorted(edges, high, side="left")) - 1

    def polynomial(x, derivative=False):
        piece = (torch.searchsorted(knots, x.detach().contiguous(), right=True) - 1).clamp(first, last)
        terms, distance = coefficients[:, piece, :n_kept], (x - knots[piece])[:, None]
        value, slope = terms[0], torch.zeros_like(terms[0])
        for term in terms[1:]:
            value, slope = value * distance + term, slope * distance + value
        return slope if derivative else value

    def basis(x):
        if transformer.extrapolation == "periodic":
            return polynomial(low + (x - low) % (high - low))
        if transformer.extrapolation in ("continue", "error"):
            return polynomial(x)
        inside = x.clamp(low, high)
        if transformer.extrapolation == "constant":
            return polynomial(inside)
        return polynomial(inside) + (x - inside)[:, None] * polynomial(inside, derivative=True)

    return basis
