"""Weights that learning starts from: rows of the data, rows far from each other, noise, or given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from .._base import as_numbers, as_tensor
from ..functional.plasticity import lebesgue_norms, scale_to_radius

if TYPE_CHECKING:
    from ._feeds import Feed

# k-means++ is run on this many times the rows that are needed: its cost grows with both numbers.
_CANDIDATES_PER_UNIT = 5


def initial_weights(
    init: ArrayLike,
    feed: Feed,
    n_units: int,
    *,
    norm: float,
    radius: float,
    random_state: np.random.RandomState,
) -> Tensor:
    """Return the tensor of weights that `fit` starts from."""
    if not isinstance(init, str):
        return given_weights(init, "init", feed, n_units)
    rows = random_state.permutation(feed.with_length())
    if init == "normal" or len(rows) == 0:
        noise = random_state.normal(size=(n_units, feed.n_features))
        return torch.as_tensor(noise, device=feed.device).to(feed.dtype)
    if init == "spread" and len(rows) > n_units:
        rows = _spread_rows(feed, rows[: _CANDIDATES_PER_UNIT * n_units], n_units, random_state)
    W = feed.take(rows[:n_units])
    if len(W) < n_units:
        W = torch.cat([W, _mixtures(W, n_units - len(W), random_state)])
    return scale_to_radius(W, norm, radius)


def given_weights(weights: ArrayLike, name: str, feed: Feed, n_units: int) -> Tensor:
    """Return a tensor with a copy of weights that the user gave or that were learned before."""
    shape = n_units, feed.n_features
    rule = "the name of an initialisation or an array of numbers"
    given = np.ascontiguousarray(as_numbers("WTAEncoder", name, weights, rule))
    if given.shape != shape:
        raise ValueError(
            f"The {name!r} of WTAEncoder must have the shape (n_components, n_features) = {shape}. "
            f"Got {given.shape} instead."
        )
    W = torch.tensor(given, dtype=feed.dtype, device=feed.device)
    if not W.isfinite().all():
        raise ValueError(f"The {name!r} of WTAEncoder contains NaN or infinity.")
    return W


def median_length(X: np.ndarray, norm: float) -> float:
    """Return the median p-norm of the rows that are not all zero, 1 if all are."""
    lengths = lebesgue_norms(as_tensor(X), norm).numpy()
    lengths = lengths[lengths > 0]
    return float(np.median(lengths)) if len(lengths) else 1.0


def _spread_rows(
    feed: Feed, candidates: np.ndarray, n_units: int, random_state: np.random.RandomState
) -> np.ndarray:
    points = feed.take(candidates).cpu().numpy()
    _, chosen = kmeans_plusplus(points, n_units, random_state=random_state, n_local_trials=1)
    return candidates[chosen]


def _mixtures(W: Tensor, n_mixtures: int, random_state: np.random.RandomState) -> Tensor:
    """Return random mixtures of two rows each, so that units beyond the number of rows differ."""
    first = random_state.randint(len(W), size=n_mixtures)
    second = first - random_state.randint(1, max(len(W), 2), size=n_mixtures)
    share = torch.as_tensor(random_state.uniform(size=(n_mixtures, 1)), device=W.device).to(W.dtype)
    return share * W[first] + (1 - share) * W[second]
