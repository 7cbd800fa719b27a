"""What units of deep layers answer to: the patches of images that drive them most."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .._base import check_fitted, check_number, parameter_error
from ._receptive_fields import _mosaic
from ._style import check_axes, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from .._encoder import PatchEncoder


class DrivingPatchDisplay:
    """For each unit, the patches of some images that drive it most, strongest first, one unit per row.

    It is recommended to use `from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    patches : ndarray of shape (n_units, n_best, height, width, channels)
        With 1 or 3 channels, in [0, 1]; NaN outside of the image.
    answers : ndarray of shape (n_units, n_best)
        What the unit answers to each, before pooling.
    units : ndarray of shape (n_units,)
        Which units these are.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage

    See Also
    --------
    ReceptiveFieldDisplay : The weights of units that see pixels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_brm import DrivingPatchDisplay, PatchEncoder, WTAEncoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> settings = {"patch_size": 3, "n_patches": 2000, "random_state": 0}
    >>> layers = make_pipeline(
    ...     PatchEncoder(WTAEncoder(20, norm=2), grid=None, **settings),
    ...     PatchEncoder(WTAEncoder(30, norm=2), image_shape=(6, 6), **settings),
    ... ).fit(X)
    >>> display = DrivingPatchDisplay.from_estimator(layers, X[:200], n_units=10, n_best=5)
    >>> display.patches.shape
    (10, 5, 5, 5, 1)
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage

    def __init__(self, patches: np.ndarray, *, answers: np.ndarray, units: np.ndarray) -> None:
        self.patches = patches
        self.answers = answers
        self.units = units

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ArrayLike,
        *,
        n_units: int = 10,
        n_best: int = 10,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Find the patches, each from another image, and draw them.

        Parameters
        ----------
        estimator : PatchEncoder or Pipeline
            Fitted. Of a Pipeline the layers from the first step on; what follows them is left out.
        X : array-like of shape (n_samples, n_features)
            Images to look in.
        n_units : int, default=10
            How many units of the last layer to show, evenly spaced.
        n_best : int, default=10
            How many patches of each.
        ax : matplotlib Axes, default=None
            Where to draw.
        **kwargs : dict
            Handed to matplotlib's `imshow`.

        Returns
        -------
        display : DrivingPatchDisplay
            The picture and what is in it.
        """
        owner = f"{cls.__name__}.from_estimator"
        check_axes(owner, ax)
        check_fitted(owner, "estimator", estimator)
        layers = _layers(owner, estimator)
        for name, value in {"n_units": n_units, "n_best": n_best}.items():
            check_number(owner, name, value, "[1, inf)", kind=numbers.Integral)
        maps = _last_maps(layers, X)
        units = np.linspace(0, maps.shape[-1] - 1, min(n_units, maps.shape[-1])).round().astype(int)
        images, answers = _as_images(X, layers[0].image_shape_), []
        patches = []
        for unit in units:
            of_unit = maps[..., unit].reshape(len(maps), -1)
            best = np.argsort(-of_unit.max(axis=1), kind="stable")[:n_best]
            places = [np.unravel_index(of_unit[i].argmax(), maps.shape[1:3]) for i in best]
            patches.append([_patch(images[i], layers, place) for i, place in zip(best, places)])
            answers.append(of_unit[best].max(axis=1))
        return cls(np.array(patches), answers=np.array(answers), units=units).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the patches, one unit per row.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw.
        **kwargs : dict
            Handed to matplotlib's `imshow`.

        Returns
        -------
        display : DrivingPatchDisplay
            This object.
        """
        check_axes(f"{type(self).__name__}.plot", ax)
        self.ax_ = new_axes()[0] if ax is None else ax
        self.figure_ = self.ax_.figure
        n_units, n_best, height, width, n_channels = self.patches.shape
        patches = self.patches.reshape(-1, height, width, n_channels)
        outside = np.isnan(patches)
        colours = np.broadcast_to(np.where(outside, 1.0, patches), (*patches.shape[:3], 3))
        self.image_ = self.ax_.imshow(_mosaic(colours, n_best), **({"interpolation": "nearest"} | kwargs))
        middles = np.arange(n_units) * (height + 1) + (height - 1) / 2
        self.ax_.set(xticks=[], yticks=middles, yticklabels=list(self.units), ylabel="unit")
        self.ax_.set(xlabel="patches that drive it most, strongest first")
        self.ax_.spines[:].set_visible(False)
        return self


def _layers(owner: str, estimator: Any) -> list[PatchEncoder]:
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    layers = []
    for step in steps:
        if not hasattr(step, "pixels_behind"):
            break
        layers.append(step)
    if not layers:
        rule = "a PatchEncoder, or a Pipeline that begins with one"
        raise parameter_error(owner, "estimator", rule, estimator)
    if layers[0].image_shape_[2] not in (1, 3):
        rule = f"for images of 1 or 3 channels, not {layers[0].image_shape_[2]}"
        raise parameter_error(owner, "estimator", rule, estimator, ValueError)
    return layers


def _last_maps(layers: list[PatchEncoder], X: ArrayLike) -> np.ndarray:
    for layer in layers[:-1]:
        X = layer.transform(X)
    return layers[-1].maps(X)


def _as_images(X: ArrayLike, image_shape: tuple[int, int, int]) -> np.ndarray:
    images = np.asarray(X, dtype=float).reshape(-1, *image_shape)
    low, high = images.min(), images.max()
    return (images - low) / ((high - low) or 1)


def _patch(image: np.ndarray, layers: list[PatchEncoder], place: Sequence[Any]) -> np.ndarray:
    """Return the part of an image that stands behind a place of the last map; NaN where there is none."""
    ranges = []
    for axis in (0, 1):
        first, last = layers[-1].pixels_behind(place[axis], place[axis], axis, pooled=False)
        for layer in layers[-2::-1]:
            first, last = layer.pixels_behind(first, last, axis)
        ranges.append(np.arange(first, last + 1))
    inside = [(r >= 0) & (r < side) for r, side in zip(ranges, image.shape)]
    patch = image[np.ix_(*(r.clip(0, side - 1) for r, side in zip(ranges, image.shape)))]
    return np.where((inside[0][:, None] & inside[1])[..., None], patch, np.nan)
