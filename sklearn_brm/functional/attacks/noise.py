"""Random numbers that belong to a row: the same whatever the batch it is attacked in."""

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, rows: Tensor, stream: int, n: int) -> Tensor:
    """Return numbers in [0, 1), shape (len(rows), n), float64, on the CPU.

    They are a hash of the seed, the number of the row, the number of the stream and the column
    (SplitMix64, Steele et al. 2014), so they do not depend on which rows are asked for together.
    """
    numbers = rows.cpu().numpy().astype(np.uint64)
    key = _mix(_mix(np.array([seed], dtype=np.uint64)) + _GOLDEN * numbers)
    key = _mix(key + _GOLDEN * np.array([stream + 1], dtype=np.uint64))
    bits = _mix(key[:, None] + _GOLDEN * np.arange(1, n + 1, dtype=np.uint64))
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normal(seed: int, rows: Tensor, stream: int, n: int) -> Tensor:
    """Return standard normal numbers, shape (len(rows), n), of the same kind as `uniform`'s (Box-Muller)."""
    half = (n + 1) // 2
    u = uniform(seed, rows, stream, 2 * half)
    radius, angle = torch.sqrt(-2 * torch.log1p(-u[:, :half])), 2 * torch.pi * u[:, half:]
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :n]


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
