"""Layers that see a row as an image: cut into patches, mapped patch by patch, pooled.

They are layers like those of `layers`, from rows to rows; an image lies in a row as (height, width,
channels), channels last, and so does a map of the answers to its patches.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Layer, Linear, Monotone, RowNorm, Select, UnboundedError, layers_of, sequence
from .patches import cut, grid_weights, pool_padding, pooling_weights, reflect

__all__ = [
    "AgainstMean",
    "Averages",
    "Cast",
    "Contrast",
    "Cut",
    "Distances",
    "Grid",
    "MaxPool",
    "MeanPool",
    "PerPatch",
    "per_patch",
]


class Cut(Select):
    """All patches of an image one after the other; each is a selection of columns.

    Parameters
    ----------
    image_shape : tuple of (height, width, channels)
    size : tuple of (height, width)
        Of a patch.
    stride : int
    padding : tuple of (rows, columns)
        Mirrored at each border.
    """

    n_places: int

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        size: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        device: torch.device | str | None = None,
    ):
        self._geometry = (image_shape, size, stride, padding)
        height, width, channels = image_shape
        # Not every device mirrors integers; float64 counts all columns that a memory holds.
        numbers = torch.arange(height * width * channels, dtype=torch.float64)
        super().__init__(self._patches(numbers[None])[0].flatten().long().to(device))
        self.n_places = len(self.columns) // (size[0] * size[1] * channels)

    def forward(self, X: Tensor) -> Tensor:
        """Return the patches of each row, of shape (n, n_places * n_pixels)."""
        return self._patches(X).flatten(1)

    def _patches(self, X: Tensor) -> Tensor:
        image_shape, size, stride, padding = self._geometry
        return cut(reflect(X.reshape(-1, *image_shape), padding), size, stride)

    def extra_repr(self) -> str:
        """Return the shape of the image and of the patches."""
        image_shape, size, stride, _ = self._geometry
        return f"{image_shape}, {self.n_places} patches of {size}, stride={stride}"


class PerPatch(Layer):
    """One layer applied to each of the patches that lie side by side in a row.

    Parameters
    ----------
    layer : Module
    n_places : int
        Number of patches in a row.
    """

    layer: nn.Module
    n_places: int

    def __init__(self, layer: nn.Module, n_places: int):
        super().__init__()
        self.layer = layer
        self.n_places = n_places

    def forward(self, X: Tensor) -> Tensor:
        """Return the answers to all patches, of shape (n, n_places * n_outputs)."""
        return self.layer(self._apart(X)).reshape(len(X), -1)

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of each patch."""
        low, high = self._bounded().interval(self._apart(lower), self._apart(upper))
        return low.reshape(len(lower), -1), high.reshape(len(upper), -1)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the sum of the bounds of each patch."""
        n, k = len(lower), A.shape[1]
        A = A.expand(n, -1, -1).reshape(n, k, self.n_places, -1).transpose(1, 2).flatten(0, 1)
        A_in, constant = self._bounded().relax(A, self._apart(lower), self._apart(upper))
        constant = constant.reshape(n, self.n_places, k).sum(dim=1)
        if A_in is None:
            return None, constant
        A_in = A_in.expand(n * self.n_places, -1, -1).reshape(n, self.n_places, k, -1)
        return A_in.transpose(1, 2).flatten(2), constant

    def _bounded(self) -> Layer:
        # A module that is no layer can be applied, but has no bounds to ask for.
        if not isinstance(self.layer, Layer):
            raise UnboundedError(f"no bounds are known of {type(self.layer).__name__}")
        return self.layer

    def _apart(self, X: Tensor) -> Tensor:
        return X.reshape(len(X) * self.n_places, -1)


def per_patch(module: nn.Module | Callable[..., Tensor], n_places: int) -> nn.Module:
    """Return the layers of a module, each applied patch by patch."""
    return sequence(*(PerPatch(layer, n_places) for layer in layers_of(module)))


class Contrast(RowNorm):
    """``x / sqrt(mean(x^2) + offset)``: contrast normalisation of a patch whose mean is zero.

    Parameters
    ----------
    offset : float
        Keeps the noise of flat patches small; more than zero.
    """

    offset: float

    def __init__(self, offset: float):
        super().__init__(2)
        self.offset = float(offset)

    def forward(self, X: Tensor) -> Tensor:
        """Return patches of about unit variance."""
        return X * (X.square().mean(dim=1, keepdim=True) + self.offset).rsqrt()

    def norms(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds of what patches are divided by, each of shape (n, 1)."""
        ends = super().norms(lower, upper)
        low, high = ((norm.square() / lower.shape[1] + self.offset).sqrt() for norm in ends)
        return low, high

    def limit(self, n_columns: int) -> float:
        """Return what no entry exceeds."""
        return n_columns**0.5

    def extra_repr(self) -> str:
        """Return the offset."""
        return f"offset={self.offset:g}"


class AgainstMean(Linear):
    """``sign * (x - mean of the row)``: how much each unit answers more than all do on average."""

    def __init__(self, sign: float = 1.0):
        super().__init__()
        self.sign = sign

    def forward(self, X: Tensor) -> Tensor:
        """Return the differences."""
        mean = X.mean(dim=1, keepdim=True)
        return X - mean if self.sign > 0 else mean - X

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the function itself."""
        return self.sign * (A - A.mean(dim=2, keepdim=True)), A.new_zeros(A.shape[:2])

    def extra_repr(self) -> str:
        """Return the sign."""
        return f"sign={self.sign:g}"


class Distances(Layer):
    """Euclidean distances from each row to some centres.

    Parameters
    ----------
    centres : Tensor of shape (n_centres, n_inputs)
    """

    def __init__(self, centres: Tensor):
        super().__init__(centres=centres, squares=centres.square().sum(dim=1))

    def forward(self, X: Tensor) -> Tensor:
        """Return the distances, of shape (n, n_centres); a distance of zero has a gradient of zero."""
        squares = X.square().sum(dim=1, keepdim=True) + self.squares - 2 * X @ self.centres.T
        at_centre = squares <= 0
        return squares.masked_fill(at_centre, 1.0).sqrt().masked_fill(at_centre, 0.0)

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances from the nearest and the farthest corner of each box, centre by centre."""
        ends = []
        for centre in self.centres:
            below, above = lower - centre, upper - centre
            nearest = torch.maximum(below, -above).clamp(min=0)
            farthest = torch.maximum(below.abs(), above.abs())
            ends.append([torch.linalg.vector_norm(end, dim=1) for end in (nearest, farthest)])
        low, high = zip(*ends)
        return torch.stack(low, dim=1), torch.stack(high, dim=1)

    def extra_repr(self) -> str:
        """Return the number of centres."""
        return f"{self.centres.shape[1]} -> {len(self.centres)}"


class Averages(Linear):
    """Averages over windows of a map, which are products of intervals of its rows and columns.

    Parameters
    ----------
    map_shape : tuple of (height, width, channels)
    rows, columns : Tensors of shape (n_windows, height) and (n_windows, width)
        The weight of each row and column in each window.
    """

    map_shape: tuple[int, int, int]

    def __init__(self, map_shape: tuple[int, int, int], rows: Tensor, columns: Tensor):
        super().__init__(rows=rows, columns=columns)
        height, width, channels = map_shape
        self.map_shape = height, width, channels

    def forward(self, X: Tensor) -> Tensor:
        """Return the pooled maps."""
        maps = X.reshape(-1, *self.map_shape).permute(0, 3, 1, 2)
        return self._pooled(maps).permute(0, 2, 3, 1).reshape(len(X), -1)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the function itself."""
        maps = A.reshape(*A.shape[:2], len(self.rows), len(self.columns), -1)
        spread = torch.einsum("nkijc,ih,jw->nkhwc", maps, self.rows, self.columns)
        return spread.flatten(2), A.new_zeros(A.shape[:2])

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the averages of the ends."""
        return self(lower), self(upper)

    def _pooled(self, maps: Tensor) -> Tensor:
        """Return the averages of maps whose channels come first."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the shapes of the map before and after."""
        return f"{self.map_shape} -> {(len(self.rows), len(self.columns), self.map_shape[2])}"


class MeanPool(Averages):
    """The mean answer of each channel in each window of a map.

    Parameters
    ----------
    map_shape : tuple of (height, width, channels)
    size : tuple of (height, width)
        Of a window.
    stride : int
    **kwargs
        Type and device of the buffers.
    """

    size: tuple[int, int]
    stride: int

    def __init__(self, map_shape: tuple[int, int, int], size: tuple[int, int], stride: int, **kwargs: Any):
        weights = [pooling_weights(*each, stride).to(**kwargs) for each in zip(map_shape[:2], size)]
        super().__init__(map_shape, *weights)
        self.size, self.stride = size, stride

    def _pooled(self, maps: Tensor) -> Tensor:
        padding = tuple(pool_padding(size, self.stride) for size in self.size)
        return nn.functional.avg_pool2d(maps, self.size, self.stride, padding, count_include_pad=False)


class Grid(Averages):
    """The mean answer of each channel in each cell of a grid over the map.

    Parameters
    ----------
    map_shape : tuple of (height, width, channels)
    cells : tuple of (rows, columns)
    **kwargs
        Type and device of the buffers.
    """

    cells: tuple[int, int]

    def __init__(self, map_shape: tuple[int, int, int], cells: tuple[int, int], **kwargs: Any):
        super().__init__(map_shape, *(grid_weights(*each).to(**kwargs) for each in zip(map_shape[:2], cells)))
        self.cells = cells

    def _pooled(self, maps: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(maps, self.cells)


class MaxPool(Monotone):
    """The largest answer of each channel in each window of a map.

    Parameters
    ----------
    map_shape : tuple of (height, width, channels)
    size : tuple of (height, width)
        Of a window.
    stride : int
    """

    map_shape: tuple[int, int, int]
    size: tuple[int, int]
    stride: int

    def __init__(self, map_shape: tuple[int, int, int], size: tuple[int, int], stride: int):
        super().__init__()
        height, width, channels = map_shape
        self.map_shape = height, width, channels
        self.size, self.stride = size, stride

    def forward(self, X: Tensor) -> Tensor:
        """Return the pooled maps; windows that stick out take the largest of what they hold."""
        maps = X.reshape(-1, *self.map_shape).permute(0, 3, 1, 2)
        padding = tuple(pool_padding(size, self.stride) for size in self.size)
        pooled = nn.functional.max_pool2d(maps, self.size, self.stride, padding)
        return pooled.permute(0, 2, 3, 1).reshape(len(X), -1)

    def extra_repr(self) -> str:
        """Return the shape of the map, and the windows."""
        return f"{self.map_shape}, size={self.size}, stride={self.stride}"


class Cast(Layer):
    """The rows in another floating type, for products that are faster in it."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, X: Tensor) -> Tensor:
        """Return the rows in the type."""
        return X.to(self.dtype)
