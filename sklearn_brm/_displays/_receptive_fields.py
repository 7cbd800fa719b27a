"""What the units of an encoder have learned, as images, and the variances that tell learned from noise."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._base import check_fitted, check_number, parameter_error
from ._style import PALETTE, check_axes, legend_above, new_axes, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

_LARGEST_GRID = 100


class ReceptiveFieldDisplay:
    """Weights of units as a grid of images, beside the histogram of their variances.

    Each unit is scaled by its largest absolute weight, so that zero has the same colour everywhere: white
    for one channel, mid-grey for three. Dead units are framed, pruned ones framed and crossed out. It is
    recommended to use `from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_shown, n_features)
        The units of the grid, row by row.
    image_shape : tuple of int
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` with 1 or 3
        channels.
    variances : ndarray of shape (n_units,)
        Variance over the features of every unit, before pruning.
    dead, pruned : ndarray of shape (n_units,), dtype=bool
        State of every unit.
    threshold : float, default=inf
        Units of a larger variance were pruned.
    units : ndarray of shape (n_shown,), default=None
        Which units the grid shows; None means the first ones.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid.
    histogram_ax_ : matplotlib Axes or None
        Axes with the histogram.
    figure_ : matplotlib Figure
        Figure that holds the grid.
    image_ : matplotlib AxesImage
        The grid.
    frames_ : list of matplotlib Rectangle
        The frames of dead and pruned units.
    cut_ : matplotlib Line2D or None
        The cut in the histogram, where there is one.

    See Also
    --------
    WTAEncoder : The encoder whose units these are.
    DrivingPatchDisplay : What units of deeper layers answer to.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_brm import ReceptiveFieldDisplay, WTAEncoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> encoder = WTAEncoder(n_components=25, random_state=0).fit(X)
    >>> display = ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8))
    >>> display.image_.get_array().shape
    (44, 44, 4)
    """

    ax_: Axes
    histogram_ax_: Axes | None
    figure_: Figure
    image_: AxesImage
    frames_: list[Rectangle]
    cut_: Line2D | None

    def __init__(
        self,
        weights: np.ndarray,
        *,
        image_shape: tuple[int, ...],
        variances: np.ndarray,
        dead: np.ndarray,
        pruned: np.ndarray,
        threshold: float = np.inf,
        units: np.ndarray | None = None,
    ) -> None:
        self.weights = weights
        self.image_shape = image_shape
        self.variances = variances
        self.dead = dead
        self.pruned = pruned
        self.threshold = threshold
        self.units = units

    @classmethod
    def from_estimator(
        cls,
        encoder: BaseEstimator,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_units: int = _LARGEST_GRID,
        ax: Axes | None = None,
        histogram_ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the units of a fitted encoder.

        Parameters
        ----------
        encoder : WTAEncoder or PatchEncoder
            Fitted on images, one per row. Of a `PatchEncoder` the units of its encoder are drawn as filters
            of patches, through the whitening; only a first layer, of 1 or 3 channels, has such pictures.
        image_shape : tuple of int, default=None
            ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` with 1 or 3
            channels. A `PatchEncoder` knows the shape of its patches.
        n_units : int, default=100
            How many units to show, evenly spaced; all where there are fewer.
        ax, histogram_ax : matplotlib Axes, default=None
            Where to draw. With neither a new figure holds both; with `ax` alone there is no histogram.
        **kwargs : dict
            Handed to matplotlib's `imshow`.

        Returns
        -------
        display : ReceptiveFieldDisplay
            The picture and what is in it.

        Raises
        ------
        ValueError
            If `image_shape` has not as many pixels as the encoder has features, or not 1 or 3 channels.
        """
        owner = f"{cls.__name__}.from_estimator"
        _check_both_axes(owner, ax, histogram_ax)
        check_fitted(owner, "encoder", encoder)
        learner = getattr(encoder, "encoder_", encoder)
        if not hasattr(learner, "weight_variances_"):
            raise parameter_error(owner, "encoder", "a fitted WTAEncoder, or a PatchEncoder of one", encoder)
        check_number(owner, "n_units", n_units, "[1, inf)", kind=numbers.Integral)
        weights = learner.components_
        if learner is not encoder:
            weights, image_shape = encoder.filters()
            if image_shape[2] not in (1, 3):
                rule = f"a first layer, of 1 or 3 channels and not {image_shape[2]}"
                raise parameter_error(owner, "encoder", rule, encoder, ValueError)
        shape = _checked_image_shape(owner, image_shape, weights.shape[1])
        encoder = learner
        n_shown = min(n_units, len(weights))
        units = np.linspace(0, len(weights) - 1, n_shown).round().astype(int)
        display = cls(
            weights[units],
            image_shape=shape,
            variances=encoder.weight_variances_,
            dead=encoder.dead_,
            pruned=encoder.pruned_,
            threshold=encoder.prune_threshold_,
            units=units,
        )
        return display.plot(ax=ax, histogram_ax=histogram_ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, histogram_ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the grid and the histogram.

        Parameters
        ----------
        ax, histogram_ax : matplotlib Axes, default=None
            Where to draw. With neither a new figure holds both; with `ax` alone there is no histogram.
        **kwargs : dict
            Handed to matplotlib's `imshow`.

        Returns
        -------
        display : ReceptiveFieldDisplay
            This object.
        """
        _check_both_axes(f"{type(self).__name__}.plot", ax, histogram_ax)
        if ax is None and histogram_ax is None:
            ax, histogram_ax = new_axes(2, width=10.0, height=5.0, width_ratios=[1.2, 1])
        elif ax is None:
            ax = new_axes()[0]
        self.ax_, self.histogram_ax_ = ax, histogram_ax
        self.figure_ = ax.figure
        self._plot_grid(kwargs)
        self.cut_ = None if histogram_ax is None else self._plot_histogram(histogram_ax)
        return self

    def _plot_grid(self, kwargs: dict[Any, Any]) -> None:
        images = _as_colors(np.asarray(self.weights), self.image_shape)
        n_columns = int(np.ceil(np.sqrt(len(images))))
        self.image_ = self.ax_.imshow(_mosaic(images, n_columns), **({"interpolation": "nearest"} | kwargs))
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.spines[:].set_visible(False)
        self.frames_ = []
        units = np.arange(len(images)) if self.units is None else np.asarray(self.units)
        for name, (which, color) in self._states().items():
            places = np.flatnonzero(which[units]) if name != "kept" else units[:0]
            for count, place in enumerate(places):
                row, column = divmod(place, n_columns)
                label = None if count else f"{name} ({len(places)} of {len(units)} shown)"
                self._frame(row, column, images.shape[1:3], color, label, crossed=name == "pruned")
        if self.frames_:
            legend_above(self.ax_)

    def _states(self) -> dict[str, tuple[NDArray[np.bool_], str]]:
        """Return which units are kept, dead and pruned, and the colour of each state."""
        dead, pruned = np.asarray(self.dead), np.asarray(self.pruned)
        return {
            "kept": (~dead & ~pruned, PALETTE[0]),
            "dead": (dead & ~pruned, PALETTE[1]),
            "pruned": (pruned, PALETTE[6]),
        }

    def _frame(
        self,
        row: int,
        column: int,
        size: tuple[int, int],
        color: str,
        label: str | None,
        *,
        crossed: bool,
    ) -> None:
        from matplotlib.patches import Rectangle

        height, width = size
        x, y = column * (width + 1) - 0.5, row * (height + 1) - 0.5
        frame = Rectangle((x, y), width, height, fill=False, edgecolor=color, linewidth=1.5, label=label)
        self.frames_.append(self.ax_.add_patch(frame))
        if crossed:
            self.ax_.plot([x, x + width], [y, y + height], color=color, linewidth=1)

    def _plot_histogram(self, ax: Axes) -> Line2D | None:
        variances = np.asarray(self.variances, dtype=float)
        bins = _log_bins(variances[variances > 0])
        below = np.zeros(len(bins) - 1)
        for name, (which, color) in self._states().items():
            counts = np.histogram(variances[which], bins)[0]
            if which.any():
                label = f"{name} ({which.sum()})"
                ax.bar(bins[:-1], counts, np.diff(bins), below, align="edge", color=color, label=label)
            below += counts
        # On a logarithmic axis the labels within a decade would overlap.
        is_log = spans_decades(variances[variances > 0])
        ax.set(xscale="log" if is_log else "linear")
        ax.set(xlabel="variance of the weights of a unit", ylabel="number of units")
        cut = None
        if np.isfinite(self.threshold):
            cut = ax.axvline(self.threshold, color="black", linestyle="--", label="cut")
        legend_above(ax)
        return cut


def _check_both_axes(owner: object, ax: Axes, histogram_ax: Axes | str | None) -> None:
    check_axes(owner, ax)
    check_axes(owner, histogram_ax, "histogram_ax")


def _checked_image_shape(
    owner: object, image_shape: tuple[int, ...] | None, n_features: int
) -> tuple[int, ...]:
    rule = f"(height, width), or with 1 or 3 channels before or after, for {n_features} features"
    if not isinstance(image_shape, (tuple, list)) or not all(
        isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in image_shape
    ):
        raise parameter_error(owner, "image_shape", rule, image_shape)
    channels_known = len(image_shape) == 2 or (
        len(image_shape) == 3 and (image_shape[-1] in (1, 3) or image_shape[0] in (1, 3))
    )
    if not channels_known or min(image_shape) < 1 or np.prod(image_shape) != n_features:
        raise parameter_error(owner, "image_shape", rule, image_shape, ValueError)
    return image_shape


def _as_colors(weights: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """Return the weights as RGB images in [0, 1], shape (n_units, height, width, 3)."""
    from matplotlib import colormaps

    largest = np.abs(weights).max(axis=1, keepdims=True)
    images = (weights / np.where(largest == 0, 1, largest)).reshape(len(weights), *image_shape)
    if len(image_shape) == 2:
        images = images[..., None]
    elif image_shape[-1] not in (1, 3):
        images = np.moveaxis(images, 1, -1)
    shades = (images + 1) / 2
    return colormaps["RdBu_r"](shades[..., 0])[..., :3] if shades.shape[-1] == 1 else shades


def _mosaic(images: np.ndarray, n_columns: int) -> np.ndarray:
    """Lay the images out in rows with gaps of one transparent pixel between them."""
    n_rows = -(-len(images) // n_columns)
    _, height, width, _ = images.shape
    mosaic = np.zeros((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1, 4))
    for place, image in enumerate(images):
        row, column = divmod(place, n_columns)
        top, left = row * (height + 1), column * (width + 1)
        mosaic[top : top + height, left : left + width, :3] = image
        mosaic[top : top + height, left : left + width, 3] = 1
    return mosaic


def _log_bins(values: np.ndarray, n_bins: int = 40) -> np.ndarray:
    """Return edges of bins of equal width on a logarithmic axis."""
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    return np.geomspace(low / 1.05, high * 1.05, n_bins + 1)
