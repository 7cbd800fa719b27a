"""Rows as tensors, handed out in batches, and the count of right answers over them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch

from .._base import as_tensor
from .._device import fits_beside_the_work
from ._network import Perceptron
from ._rows import Tensors

_GATHERED_ROWS = 2048


@dataclass(frozen=True)
class Rows:
    """Rows as tensors, which hand out batches on `device`, where they need not lie themselves."""

    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None
    device: torch.device

    @classmethod
    def for_network(
        cls, X: np.ndarray, codes: np.ndarray, weight: np.ndarray | None, network: Perceptron
    ) -> Self:
        """Return rows for the network, centred in the precision that they came in.

        They lie where it lies if there is room for them, and go there batch by batch otherwise.
        """
        device, dtype = network.weights[0].device, network.weights[0].dtype
        if network.mean is not None:
            X = X - network.mean.cpu().numpy().astype(X.dtype)
        home = device if fits_beside_the_work(X.nbytes, device) else "cpu"
        place = partial(as_tensor, device=home, dtype=dtype)
        weights = None if weight is None else place(weight)
        return cls(place(X), as_tensor(codes, device=home), weights, device)

    def __len__(self) -> int:
        return len(self.X)

    def arrays(self) -> list[np.ndarray]:
        """Return rows, codes and, where there are any, weights."""
        parts = [part for part in (self.X, self.y, self.weight) if part is not None]
        return [part.cpu().numpy() for part in parts]

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        scale: torch.Tensor | None = None,
    ) -> Iterator[Tensors]:
        """Yield X, y and weights or None of each batch.

        Parameters
        ----------
        batch_size : int
        generator : torch.Generator or None
            Shuffles the rows anew; without one they stay in order.
        scale : tensor of shape (n_features,) or None
            What to multiply the rows by.
        """
        for rows in self._chunks(batch_size, generator):
            X, y = (part[rows].to(self.device) for part in (self.X, self.y))
            X = X if scale is None else X * scale
            weights: Iterable[torch.Tensor | None] = [None] * len(y)
            if self.weight is not None:
                weights = self.weight[rows].to(self.device).split(batch_size)
            yield from zip(X.split(batch_size), y.split(batch_size), weights)

    def _chunks(self, batch_size: int, generator: torch.Generator | None) -> Iterable[Any]:
        """Yield the rows of a few batches at a time, since one gather is cheaper than one for each."""
        size = batch_size * max(1, _GATHERED_ROWS // batch_size)
        if generator is None:
            return (slice(start, start + size) for start in range(0, len(self), size))
        return torch.randperm(len(self), generator=generator).to(self.X.device).split(size)


class RightAnswers:
    """The weighted share of right answers, counted batch by batch, of one network or of several at once."""

    def __init__(self) -> None:
        self._right: Any = 0.0
        self._seen = 0.0

    def count(self, scores: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None) -> None:
        """Take a batch in, with scores of shape (n, n_classes), or one axis more in front."""
        right = (scores.argmax(dim=-1) == y).to(scores.dtype)
        weight = scores.new_ones(len(y)) if weight is None else weight
        self._right = self._right + (right @ weight).cpu().double()
        self._seen += float(weight.sum())

    def share(self) -> Any:
        """Return the share so far, a list with one for each of several networks, or None before any batch."""
        return (self._right / self._seen).tolist() if self._seen else None


def mean_over_rows(values: Sequence[torch.Tensor], sizes: Sequence[int]) -> Any:
    """Return the mean of what batches of these sizes gave, for each entry; infinite where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.average(torch.stack(list(values)).tolist(), axis=0, weights=sizes)
