"""Covariances accumulated from streams, in float64."""

import torch
from torch import Tensor


class StreamingCovariance:
    """Mean and scatter matrix of rows that arrive in chunks of any size (Chan et al. 1983).

    Parameters
    ----------
    n_features : int
    device : torch.device or str
    """

    def __init__(self, n_features: int, *, device="cpu"):
        self.n_samples = 0
        self.mean = torch.zeros(n_features, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)

    def update(self, X: Tensor) -> "StreamingCovariance":
        """Add the rows of `X`, shape (n, n_features); zero rows change nothing."""
        n = len(X)
        if n == 0:
            return self
        X = X.to(self.mean)
        batch_mean = X.mean(dim=0)
        centred = X - batch_mean
        shift = batch_mean - self.mean
        total = self.n_samples + n
        self.scatter.addmm_(centred.T, centred)
        self.scatter.addr_(shift, shift, alpha=self.n_samples * n / total)
        self.mean += shift * (n / total)
        self.n_samples = total
        return self

    def covariance(self, *, correction: int = 1) -> Tensor:
        """Return scatter / (n_samples - correction), shape (n_features, n_features)."""
        return self.scatter / (self.n_samples - correction)
