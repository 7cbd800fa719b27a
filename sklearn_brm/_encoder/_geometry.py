"""How rows are read as images, and what shape patches, maps and pooled maps have."""

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._base import parameter_error
from ..functional.patches import places, pool_padding

# Fewer columns than the smallest image that people have, 8 x 8, may be no image at all.
_FEWEST_PIXELS = 64
_NAMED_SHAPES = 6


@dataclass(frozen=True)
class Geometry:
    """The shapes on the way from an image to its pooled maps, all as (rows, columns).

    Attributes
    ----------
    image : tuple of (height, width, channels)
    patch, padding : tuples of int
        Size of a patch, and what is mirrored at each border.
    stride : int
    places : tuple of int
        How many patches fit below and beside each other.
    pool : tuple of int or None
        Size of the pooling windows.
    pool_stride : int
    pooled : tuple of int
        The places after pooling.
    cells : tuple of int or None
        The grid at the end.
    """

    image: tuple[int, int, int]
    patch: tuple[int, int]
    padding: tuple[int, int]
    stride: int
    places: tuple[int, int]
    pool: tuple[int, int] | None
    pool_stride: int
    pooled: tuple[int, int]
    cells: tuple[int, int] | None

    @property
    def n_pixels(self) -> int:
        """Number of entries of a patch."""
        return self.patch[0] * self.patch[1] * self.image[2]

    @property
    def n_places(self) -> int:
        """Number of patches of an image."""
        return self.places[0] * self.places[1]

    @property
    def shape_out(self) -> tuple[int, int]:
        """Rows and columns of what comes out."""
        return self.cells or self.pooled


def image_geometry(owner: Any, n_features: int) -> Geometry:
    """Return the `Geometry` that the parameters of `owner` give images of so many columns.

    Raises
    ------
    ValueError
        If the columns are no image of that shape, or patches are larger than images.
    """
    image = _image_shape(owner, n_features)
    sides = image[:2]
    patch = _patch_size(owner, sides)
    padding = _padding(owner, sides, patch)
    found = _pair(places(side, size, owner.stride, pad) for side, size, pad in zip(sides, patch, padding))
    pool, pool_stride, pooled = None, 1, found
    if owner.pool_size is not None:
        pool = _pair(min(owner.pool_size, side) for side in found)
        pool_stride = owner.pool_size if owner.pool_stride is None else owner.pool_stride
        pooled = _pair(
            places(side, size, pool_stride, pool_padding(size, pool_stride))
            for side, size in zip(found, pool)
        )
    cells = None if owner.grid is None else _pair(min(owner.grid, side) for side in pooled)
    return Geometry(image, patch, padding, owner.stride, found, pool, pool_stride, pooled, cells)


def _pair(both: Iterable[int]) -> tuple[int, int]:
    rows, columns = both
    return rows, columns


def check_image_shape(owner: object, name: str, value: Any) -> None:
    """Check the parameter `image_shape`, but for the number of columns, which is not known yet."""
    if not (isinstance(value, str) and value == "auto"):
        _check_sides(owner, name, value, (2, 3), "'auto', (height, width) or (height, width, channels)")


def check_patch_size(owner: object, name: str, value: Any) -> None:
    """Check the parameter `patch_size`."""
    if isinstance(value, (tuple, list)):
        _check_sides(owner, name, value, (2,), "an int in [1, inf) or (height, width)")
    else:
        _check_sides(owner, name, (value,), (1,), "an int in [1, inf) or (height, width)", shown=value)


def _check_sides(
    owner: object, name: str, value: Any, lengths: tuple[int, ...], rule: str, shown: Any = None
) -> None:
    shown = value if shown is None else shown
    is_list = isinstance(value, (tuple, list)) and len(value) in lengths
    if not is_list or not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in value):
        raise parameter_error(owner, name, rule, shown)
    if min(value) < 1:
        raise parameter_error(owner, name, rule, shown, ValueError)


def _image_shape(owner: Any, n_features: int) -> tuple[int, int, int]:
    if owner.image_shape == "auto":
        return _guessed_shape(owner, n_features)
    height, width, *channels = (int(side) for side in owner.image_shape)
    n_channels, rest = divmod(n_features, height * width)
    if rest or n_channels == 0 or channels not in ([], [n_channels]):
        rule = f"the shape of an image of {n_features} columns, such as {_fitting(n_features)}"
        raise parameter_error(owner, "image_shape", rule, owner.image_shape, ValueError)
    return height, width, n_channels


def _guessed_shape(owner: Any, n_features: int) -> tuple[int, int, int]:
    for n_channels in (1, 3):
        side = math.isqrt(n_features // n_channels)
        if side * side * n_channels == n_features and (side > 1 or n_channels == 1):
            return side, side, n_channels
    if n_features < _FEWEST_PIXELS:
        return 1, n_features, 1
    rule = (
        f"given, since {n_features} columns are no square image of one or three channels: "
        f"such as {_fitting(n_features)}"
    )
    raise parameter_error(owner, "image_shape", rule, owner.image_shape, ValueError)


def _fitting(n_features: int) -> str:
    """Return a few shapes of images of so many columns, in words; square ones first."""
    squares = [
        (side, side, n_features // side**2)
        for side in range(math.isqrt(n_features), 1, -1)
        if n_features % side**2 == 0
    ]
    height = next(side for side in range(math.isqrt(n_features), 0, -1) if n_features % side == 0)
    others = [(height, n_features // height, 1), (1, n_features, 1)]
    shapes = list(dict.fromkeys([*squares[: _NAMED_SHAPES - 2], *others]))
    return " or ".join(map(str, shapes))


def _patch_size(owner: Any, sides: tuple[int, int]) -> tuple[int, int]:
    size = owner.patch_size
    if isinstance(size, numbers.Integral):
        # Rows of numbers are images of height 1.
        size = (1 if sides[0] == 1 else size, size)
    if owner.image_shape == "auto":
        size = tuple(min(pair) for pair in zip(size, sides))
    if size[0] > sides[0] or size[1] > sides[1]:
        rule = f"at most the size of the images, {sides[0]} x {sides[1]}"
        raise parameter_error(owner, "patch_size", rule, owner.patch_size, ValueError)
    return int(size[0]), int(size[1])


def _padding(owner: Any, sides: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    if owner.padding == "same":
        return (patch[0] - 1) // 2, (patch[1] - 1) // 2
    # A side of one pixel has nothing to mirror.
    padding = _pair(0 if side == 1 else int(owner.padding) for side in sides)
    if any(pad and pad >= side for pad, side in zip(padding, sides)):
        rule = f"smaller than the images, {sides[0]} x {sides[1]}, which are mirrored at the border"
        raise parameter_error(owner, "padding", rule, owner.padding, ValueError)
    return padding
