"""Cross-validated PCA: eigenvalues of what two measurements of the same things share."""

import numpy as np
import torch
from torch import Tensor

from ._covariance import centre, lower_product


def cv_pca(
    X: Tensor | np.ndarray,
    X_repeat: Tensor | np.ndarray,
    *,
    n_shuffles: int = 5,
    rng: np.random.Generator | np.random.RandomState | int = 0,
) -> np.ndarray:
    """Estimate the eigenvalues of the signal covariance from two repeats with independent noise.

    Principal axes come from one repeat; eigenvalue n is the covariance of the two repeats' projections on
    axis n. Noise that the repeats do not share averages to zero instead of adding to it, and an estimate may
    therefore be negative. Every shuffle swaps the repeats of a random half of the rows, which changes the
    axes and the noise.

    Parameters
    ----------
    X, X_repeat : tensor or array of shape (n, d)
        The same n things measured twice.
    n_shuffles : int
    rng : numpy Generator, RandomState or int
        Where the swaps come from; an int is a seed.

    Returns
    -------
    eigenvalues : array of shape (n_shuffles, min(n, d))
        One estimate per shuffle, in the order of the axes of its first repeat; their mean over shuffles is
        the estimate. Not sorted, negative values as they come.

    Raises
    ------
    ValueError
        If the two repeats do not have the same two-dimensional shape.

    Notes
    -----
    Each repeat is centred on its own column means and sums are divided by n - 1, so that without noise the
    result equals the eigenvalues of the sample covariance.

    References
    ----------
    Stringer, Pachitariu, Steinmetz, Carandini, Harris, "High-dimensional geometry of population responses in
    visual cortex", Nature 571, 2019, Methods.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_brm.functional.spectra import cv_pca
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(500, 3)) * [3.0, 1.0, 0.0]
    >>> first, second = (signal + rng.normal(size=signal.shape) for _ in range(2))
    >>> cv_pca(first, second).mean(axis=0).round(1)
    array([8.6, 0.9, 0. ])
    """
    first, second = (
        part if isinstance(part, Tensor) else torch.as_tensor(np.ascontiguousarray(part))
        for part in (X, X_repeat)
    )
    if first.ndim != 2 or first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"X and X_repeat must have the same 2D shape. Got {shapes} instead.")
    rng = np.random.default_rng(rng) if isinstance(rng, (int, np.integer)) else rng
    estimates = []
    for _ in range(n_shuffles):
        swap = torch.as_tensor(rng.random(len(first)) < 0.5, device=first.device)[:, None]
        train, test = torch.where(swap, second, first), torch.where(swap, first, second)
        estimates.append(_shared_variances(centre(train), centre(test)))
    return torch.stack(estimates).cpu().numpy()


def _shared_variances(train: Tensor, test: Tensor) -> Tensor:
    """Return the covariance of both repeats' projections on each principal axis of `train`."""
    n, d = train.shape
    if n >= d:
        axes = torch.linalg.eigh(lower_product(train.T)).eigenvectors.flip(1)
        return ((train @ axes) * (test @ axes)).sum(dim=0) / (n - 1)
    # With fewer rows than columns the scores on the axes are the eigenvectors of the Gram matrix times the
    # singular values, and <train u, test u> = s <v, test train^T v / s>.
    vectors = torch.linalg.eigh(lower_product(train)).eigenvectors.flip(1)
    return (vectors * (test @ (train.T @ vectors))).sum(dim=0) / (n - 1)
