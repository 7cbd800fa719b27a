"""Covariances in float64, from one array or from a stream, and their eigenvalues."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg.blas import dsyrk
from torch import Tensor

from ..._device import float64_device

# A block this long keeps the float64 copy of the data small beside the matrix, at no cost in speed.
_BLOCK_ROWS = 1024


class StreamingCovariance:
    """Mean and covariance of rows that arrive in chunks of any size, after Chan et al. (1983).

    Every chunk is centred on its own mean before it is squared, and the chunk's mean then enters as one more
    row: nothing cancels however far from zero the data lie. Memory is one n_features x n_features matrix.

    Parameters
    ----------
    n_features : int
    device : torch.device or str
        Where to accumulate; devices without float64 (Apple's "mps") give way to the processor.
    """

    def __init__(self, n_features: int, *, device: torch.device | str = "cpu") -> None:
        device = float64_device(device)
        self.n_samples: int = 0
        self.total_weight: float = 0
        self.mean: Tensor = torch.zeros(n_features, dtype=torch.float64, device=device)
        # Only the lower triangle is kept up to date: the symmetric product costs half the multiplications.
        self._scatter = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)

    def update(self, X: Tensor, weight: Tensor | None = None) -> "StreamingCovariance":
        """Add the rows of `X`, shape (n, n_features), of any dtype; zero rows change nothing.

        A `weight` of shape (n,), all above 0, counts rows as if they came so many times.
        """
        blocks = X.split(_BLOCK_ROWS)
        weights = [None] * len(blocks) if weight is None else weight.double().split(_BLOCK_ROWS)
        for block, part in zip(blocks, weights):
            if len(block):
                self._update_block(block, part)
        return self

    def _update_block(self, block: Tensor, weight: Tensor | None) -> None:
        n = len(block)
        gain: float = n if weight is None else float(weight.sum())
        total = self.total_weight + gain
        # Tensors or arrays, with the same words for what is done to them here.
        rows: Any
        mean: Any
        part: Any
        weights: Any
        product_rows = self.mean.new_empty(n + 1, len(self.mean))
        rows, mean, part, weights = product_rows, self.mean, block, weight
        if _on_processor(mean):
            # NumPy's loops take one thread. Torch's would wait for the cores that BLAS has just used, which
            # for short chunks takes ten times as long as the work.
            part, rows, mean = _to_numpy(block), rows.numpy(), mean.numpy()
            weights = None if weight is None else _to_numpy(weight)
        rows[:n] = part
        block_mean = rows[:n].mean(axis=0) if weights is None else weights @ rows[:n] / gain
        rows[:n] -= block_mean
        if weights is not None:
            rows[:n] *= weights[:, None] ** 0.5
        shift = block_mean - mean
        rows[n] = shift * (self.total_weight * gain / total) ** 0.5
        add_product(self._scatter, product_rows.T)
        mean += shift * (gain / total)
        self.n_samples, self.total_weight = self.n_samples + n, total

    def covariance(self, *, correction: int = 1) -> Tensor:
        """Return scatter / (total_weight - correction), shape (n_features, n_features)."""
        lower = self._scatter.tril()
        return (lower + lower.tril(-1).T) / (self.total_weight - correction)

    def variances(self, *, correction: int = 1) -> Tensor:
        """Return the diagonal of the covariance, shape (n_features,)."""
        return self._scatter.diagonal() / (self.total_weight - correction)

    def eigenvalues(self, *, correction: int = 1) -> np.ndarray:
        """Return the min(n_samples, n_features) leading eigenvalues of the covariance, falling."""
        return scatter_eigenvalues(self._scatter)[: self.n_samples] / (self.total_weight - correction)

    def to(self, device: torch.device | str) -> "StreamingCovariance":
        """Move to another device, in place."""
        device = float64_device(device)
        self.mean, self._scatter = self.mean.to(device), self._scatter.to(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # NumPy arrays load on machines that lack the device they were made on.
        return {
            "n_samples": self.n_samples,
            "total_weight": self.total_weight,
            "mean": _to_numpy(self.mean),
            "_scatter": _to_numpy(self._scatter),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.n_samples, self.total_weight = state["n_samples"], state["total_weight"]
        # Copied, because an array loaded from a memory map cannot be written to.
        self.mean, self._scatter = torch.tensor(state["mean"]), torch.tensor(state["_scatter"])


def sample_eigenvalues(X: Tensor) -> np.ndarray:
    """Return the min(n, d) eigenvalues of the covariance of the rows of `X`, shape (n, d), falling.

    With fewer rows than columns they come from the n x n Gram matrix, which has the same ones.
    """
    n, d = X.shape
    if n >= d:
        return StreamingCovariance(d, device=X.device).update(X).eigenvalues()
    return scatter_eigenvalues(lower_product(centre(X))) / (n - 1)


def scatter_eigenvalues(matrix: Tensor) -> np.ndarray:
    """Return the eigenvalues of a matrix of sums of squares, falling; only its lower triangle is read.

    They cannot be negative, and those that are only rounding beside the largest are returned as 0.
    """
    total, limits = float(matrix.diagonal().sum()), np.finfo(np.float64)
    if not np.isfinite(total):
        raise ValueError("The covariance overflows float64: divide the data by its largest value first.")
    if 0 < total < limits.tiny / limits.eps:
        raise ValueError("The covariance underflows float64: divide the data by its largest value first.")
    # NumPy's LAPACK is the faster of the two on the processors tried.
    if _on_processor(matrix):
        values = np.linalg.eigvalsh(matrix.numpy())[::-1]
    else:
        values = _to_numpy(torch.linalg.eigvalsh(matrix).flip(0))
    return np.where(values > negligible(values), values, 0)


def negligible(values: np.ndarray) -> float:
    """Return the size at and below which an eigenvalue is only rounding beside the largest."""
    return float(np.abs(values).max() * len(values) * np.finfo(np.float64).eps)


def centre(X: Tensor) -> Tensor:
    """Return `X` minus its column means, in float64, on a device that has it."""
    X = X.to(float64_device(X.device), torch.float64)
    return X - X.mean(dim=0)


def effective_rank(eigenvalues: ArrayLike) -> float:
    """Exponential of the entropy of the normalised positive eigenvalues (Roy and Vetterli 2007)."""
    shares = np.asarray(eigenvalues, dtype=np.float64).clip(min=0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def participation_ratio(eigenvalues: ArrayLike) -> float:
    """Squared sum of the eigenvalues over the sum of their squares, a number of dimensions."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    squares = (values**2).sum()
    return float(values.sum() ** 2 / squares) if squares > 0 else 0.0


def lower_product(A: Tensor) -> Tensor:
    """Return A @ A.T with zeros above its diagonal."""
    product = A.new_zeros(len(A), len(A))
    add_product(product, A)
    return product.tril()


def add_product(target: Tensor, A: Tensor) -> None:
    """Add A @ A.T to the lower triangle of `target`, in place."""
    if not _on_processor(target):
        target.addmm_(A, A.T)
        return
    array = A.numpy()
    factor, trans = (array, 0) if array.flags.f_contiguous else (array.T, 1)
    # BLAS counts columns first: its upper triangle is our lower one, and the view is written in place.
    dsyrk(1.0, factor, beta=1.0, c=target.numpy().T, trans=trans, lower=0, overwrite_c=1)


def _on_processor(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _to_numpy(tensor: Tensor) -> np.ndarray:
    # NumPy knows no bfloat16.
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return tensor.detach().cpu().numpy()
