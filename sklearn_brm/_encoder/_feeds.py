"""Examples served in mini-batches on any device: the rows of an array, without a second copy of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._device import fits_beside_the_work
from ..functional.plasticity import row_scales

_CHUNK = 1024


class Feed(ABC):
    """Examples that units learn from, one vector each, known by their indices.

    What learns sees no more of them than this, so that they need not be rows that lie in memory. A subclass
    says how many there are, serves them, and tells which of them are all zero.

    Parameters
    ----------
    n_features : int
    device : torch.device
    dtype : torch.dtype
        Of the tensors served.
    """

    def __init__(self, n_features: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.n_features = n_features
        self.device = device
        self.dtype = dtype

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def batches(self, order: np.ndarray, size: int) -> Iterator[Tensor]:
        """Yield the examples at the indices `order`, `size` at a time; the last batch may be smaller.

        A batch may be overwritten when the next one is asked for.
        """

    @abstractmethod
    def with_length(self) -> np.ndarray:
        """Return the indices of the examples that are not all zero, in ascending order."""

    def take(self, indices: np.ndarray) -> Tensor:
        """Return the examples at `indices` as a tensor of their own."""
        examples = torch.empty(len(indices), self.n_features, dtype=self.dtype, device=self.device)
        for place, batch in zip(examples.split(_CHUNK), self.batches(indices, _CHUNK)):
            place.copy_(batch)
        return examples


class RowFeed(Feed):
    """Serve rows of `X`, divided by their p-norm, as tensors on a device.

    On the CPU rows are gathered from the array, which may be a read-only memory map, into one buffer. On an
    accelerator the array is uploaded once if it takes at most half of the free memory; otherwise batches
    are streamed through two page-locked buffers, one being filled while the other is on its way.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    device : torch.device
    dtype : torch.dtype
        Of the tensors served.
    norm : float or None
        p, or None to serve the rows as they are.
    """

    def __init__(
        self, X: np.ndarray, *, device: torch.device, dtype: torch.dtype, norm: float | None
    ) -> None:
        super().__init__(X.shape[1], device=device, dtype=dtype)
        self._X = X
        self._buffers = [_Buffer(device), _Buffer(device)] if device.type == "cuda" else [_Buffer(device)]
        resident = device.type != "cpu" and fits_beside_the_work(X.nbytes, device)
        self._resident = torch.tensor(X, dtype=dtype, device=device) if resident else None
        self._scales = None
        if norm is not None:
            chunks = self.batches(np.arange(len(X)), _CHUNK)
            self._scales = torch.cat([row_scales(chunk, norm) for chunk in chunks])

    def __len__(self) -> int:
        return len(self._X)

    def batches(self, order: np.ndarray, size: int) -> Iterator[Tensor]:
        """Yield the rows at the indices `order`, `size` at a time, in memory that is used again."""
        on_device = torch.as_tensor(order, device=self.device)
        for start in range(0, len(order), size):
            part = slice(start, start + size)
            rows = self._gather(order[part], on_device[part])
            yield rows if self._scales is None else rows.mul_(self._scales[on_device[part]])

    def with_length(self) -> np.ndarray:
        """Return the indices of the rows that are not all zero."""
        return np.flatnonzero(self._X.any(axis=1))

    def _gather(self, indices: np.ndarray, indices_on_device: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident.index_select(0, indices_on_device)
        self._buffers.reverse()
        return self._buffers[0].send(self._X, indices, self.dtype)


class _Buffer:
    """Memory on the host in which a batch is gathered, page-locked where it is sent to a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._host: Tensor | None = None
        self._sent: torch.cuda.Event | None = None

    def send(self, X: Any, indices: np.ndarray, dtype: torch.dtype) -> Tensor:
        if self._sent is not None:
            self._sent.synchronize()
        host = self._room_for(len(indices), X)
        np.take(X, indices, axis=0, out=host.numpy(), mode="clip")
        rows = host.to(self.device, non_blocking=True).to(dtype)
        if self.device.type == "cuda":
            self._sent = torch.cuda.current_stream(self.device).record_event()
        return rows

    def _room_for(self, n_rows: int, X: Any) -> Tensor:
        if self._host is None or len(self._host) < n_rows:
            dtype = torch.from_numpy(np.empty(0, X.dtype)).dtype
            self._host = torch.empty(n_rows, X.shape[1], dtype=dtype, pin_memory=self.device.type == "cuda")
        return self._host[:n_rows]
