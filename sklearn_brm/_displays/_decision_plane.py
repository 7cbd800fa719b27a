"""What a classifier answers on a plane through rows of several classes, and how steep it is there."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator

from .._base import (
    as_numbers,
    as_tensor,
    check_choice,
    check_fitted,
    check_number,
    parameter_error,
    resolve_device,
    seeded_generator,
)
from .._bridge import NotConvertibleError, to_torch
from .._device import compute_dtype
from .._robustness import Table
from ..functional.jacobians import jacobian_norms
from ._style import AREAS, check_axes, legend_above, resolve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

_OWNER = "DecisionPlaneDisplay.from_estimator"
_UNITS = {"std": "standard deviations"}
_CONFIDENCE_LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
# Relative differences between norms that are nothing but rounding.
_FLAT = 1e-6
# The rows lie so much inside of the edge of the picture.
_MARGIN = 1.25


class DecisionPlaneDisplay:
    """The classes on a plane through rows, with contours of the confidence, and the norm of the Jacobian.

    It is recommended to use `from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    coordinates : ndarray of shape (resolution,)
        Steps along both directions; the row is at 0.
    regions : ndarray of int of shape (resolution, resolution)
        Index in `classes` of what is predicted; the second direction runs along the first axis.
    classes : ndarray of shape (n_classes,)
        The labels.
    confidence : ndarray of shape (resolution, resolution), default=None
        Largest probability, or largest softmax of the decision values.
    jacobian_norm : ndarray of shape (resolution, resolution), default=None
        Frobenius norm of the Jacobian.
    unit : str, default="raw units"
        Unit of the coordinates.
    rows : ndarray of shape (n_rows, 2), default=None
        Coordinates of the rows that the plane goes through; None is the one in the middle.
    true_classes : ndarray of shape (n_rows,), default=None
        Their true labels.
    in_plane : ndarray of bool of shape (n_rows,), default=None
        Whether they lie in the plane; others differ from it in a category or a missing value, and are drawn
        empty. None is all.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Axes of the regions and, where it is known, of the Jacobian norm.
    ax_ : matplotlib Axes
        Axes of the regions.
    figure_ : matplotlib Figure
        Figure that holds them.
    colorbar_ : matplotlib Colorbar or None
        Scale of the Jacobian norm; None also where it is the same everywhere, which is written instead.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : The regions over two features.

    References
    ----------
    Figure 4 of Holzhausen et al., "Exploring Biologically Inspired Mechanisms of Adversarial Robustness",
    Neural Computing and Applications, 2025, doi:10.1007/s00521-025-11019-6.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_brm import DecisionPlaneDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> display = DecisionPlaneDisplay.from_estimator(model, X, y, resolution=21)
    >>> display.regions.shape
    (21, 21)
    >>> display.true_classes
    array([0, 1, 2])

    The Jacobian of a linear model is the same everywhere:

    >>> bool(abs(display.jacobian_norm - (model.coef_**2).sum() ** 0.5).max() < 1e-12)
    True
    """

    ax_: Axes
    axes_: NDArray[np.object_]
    figure_: Figure
    colorbar_: Colorbar | None

    def __init__(
        self,
        *,
        coordinates: np.ndarray,
        regions: np.ndarray,
        classes: np.ndarray,
        confidence: np.ndarray | None = None,
        jacobian_norm: np.ndarray | None = None,
        unit: str = "raw units",
        rows: np.ndarray | None = None,
        true_classes: np.ndarray | None = None,
        in_plane: np.ndarray | None = None,
    ) -> None:
        self.coordinates = coordinates
        self.regions = regions
        self.classes = classes
        self.confidence = confidence
        self.jacobian_norm = jacobian_norm
        self.unit = unit
        self.rows = rows
        self.true_classes = true_classes
        self.in_plane = in_plane

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        index: int | None = None,
        directions: str | ArrayLike | None = None,
        scale: str | float | Mapping[Any, float] | ArrayLike | None = None,
        extent: float | None = None,
        resolution: int = 101,
        landscape: str = "auto",
        landscape_of: Any = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Ask a fitted classifier about a grid of points on a plane, and draw its answers.

        Parameters
        ----------
        estimator : classifier
            A fitted classifier or Pipeline.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows with two columns of numbers or more. Other columns, and missing values, stay in the whole
            plane what they are in the row in its middle.
        y : array-like of shape (n_samples,), default=None
            True labels: the rows that are drawn are marked with theirs, and chosen among those that are
            answered right, in the plane too, where there are such.
        index : int, default=None
            The row of `X` in the middle of the plane. None is a typical row of the most frequent class.
        directions : None, "random" or array-like of shape (2, n_features), default=None
            The plane's directions, in units of `scale`; they are made orthonormal. None leads through typical
            rows of the two classes nearest to the row in the middle, or, where there are two classes only,
            of the other class, and through the row whose distance from that line is the median. Classes are
            those in `y`, else those that are answered. ``"random"`` draws two.
        scale : None, "std" or array-like of shape (n_features,), default=None
            What a step of 1 means for each feature: 1, its standard deviation in `X`, or a number.
        extent : float, default=None
            How far the plane reaches from the row, in units of `scale`. None is a bit further than the
            other rows that the plane goes through or, with `directions`, the median distance between the
            row and all others.
        resolution : int, default=101
            Number of points along each direction.
        landscape : bool or "auto", default="auto"
            Whether to compute the norm of the Jacobian, which takes a torch function: ``"auto"`` leaves it
            out where there is none, True raises an error.
        landscape_of : estimator, default=None
            What to take the Jacobian of, such as a fitted ``pipeline[:-1]`` for the representation in
            front of the classifier. None is `estimator`, by its decision scores.
        device : str, default="auto"
            Where to compute the Jacobian.
        random_state : int, RandomState instance or None, default=None
            Determines the directions for ``directions="random"``.
        ax : matplotlib Axes or pair of them, default=None
            Where to draw the regions or, given two, the regions and the landscape. None makes a new figure.

        Returns
        -------
        display : DecisionPlaneDisplay
            The picture and what is in it.

        Raises
        ------
        NotConvertibleError
            If `landscape` is True and what is asked for has no torch function.
        """
        check_number(_OWNER, "extent", extent, "(0, inf)", also=(None,))
        check_number(_OWNER, "resolution", resolution, "[2, inf)", kind=numbers.Integral)
        check_choice(_OWNER, "landscape", landscape, ("auto", True, False))
        check_axes(_OWNER, ax, at_most=2)
        check_fitted(_OWNER, "estimator", estimator)
        classes: Any = getattr(estimator, "classes_", None)
        if np.ndim(classes) != 1:
            raise parameter_error(_OWNER, "estimator", "a fitted classifier of one label per row", estimator)
        if landscape_of is not None:
            check_fitted(_OWNER, "landscape_of", landscape_of)
        table, true_labels = _check_rows(X, y, index)
        steps = _steps(scale, table)
        places = _places(table, steps)
        if directions is not None:
            directions = _given_directions(directions, steps, random_state)
        predicted = estimator.predict(X) if directions is None or index is None else None
        labels = predicted if true_labels is None else true_labels
        if index is None:
            index = _frequent_row(places, labels, predicted == labels)
        middle, others = table.matrix[index].astype(float), []
        if directions is None:
            # What is answered in the plane: with the words and missing values of the row in the middle.
            moved = middle + (places - places[index]) * steps
            answered = estimator.predict(table.restore(moved, np.full(len(table), index)))
            others = _other_rows(places, labels, index, (answered == labels) & (predicted == labels))
            directions = _completed((places - places[index])[others], steps)
        plane = _orthonormal(directions)
        marked = np.array([index, *others])
        marks = (places[marked] - places[index]) @ plane.T
        if extent is None:
            far = np.abs(marks).max()
            extent = _MARGIN * far if far > 0 else _typical_distance(places, index)
        coordinates = np.linspace(-float(extent), float(extent), resolution)

        def lines() -> Iterator[Any]:
            # One line of points after the other, so that memory does not grow with the area.
            along, across = plane * steps
            return (middle + second * across + np.outer(coordinates, along) for second in coordinates)

        answers = [_answer(estimator, table.restore(line, np.full(resolution, index))) for line in lines()]
        source = estimator if landscape_of is None else landscape_of
        reached = middle + marks @ (plane * steps)
        display = cls(
            coordinates=coordinates,
            regions=np.array([regions for regions, _ in answers]),
            classes=estimator.classes_,
            confidence=None if answers[0][1] is None else np.array([confidence for _, confidence in answers]),
            jacobian_norm=_landscape(landscape, source, table, lines(), steps, device),
            unit="raw units" if scale is None else _UNITS.get(str(scale), "units of scale"),
            rows=marks,
            true_classes=None if true_labels is None else true_labels[marked],
            in_plane=np.isclose(reached, table.matrix[marked], rtol=1e-6, equal_nan=True).all(axis=1),
        )
        return display.plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the regions and, where it is known, the norm of the Jacobian.

        Parameters
        ----------
        ax : matplotlib Axes or pair of them, default=None
            Where to draw the regions or, given two, the regions and the landscape. None makes a new figure.

        Returns
        -------
        display : DecisionPlaneDisplay
            This object.
        """
        n_axes = 1 if self.jacobian_norm is None else 2
        axes = resolve_axes("DecisionPlaneDisplay.plot", ax, n_axes, at_most=2, width=4.8 * n_axes)
        self.axes_ = np.array(axes, dtype=object)
        self.ax_, self.figure_ = axes[0], axes[0].figure
        self._plot_regions(axes[0])
        self.colorbar_ = (
            self._plot_landscape(axes[1]) if self.jacobian_norm is not None and len(axes) > 1 else None
        )
        for one in axes[:n_axes]:
            self._plot_rows(one)
            one.set(xlabel=f"first direction ({self.unit})", ylabel=f"second direction ({self.unit})")
        return self

    def _plot_regions(self, ax: Axes) -> None:
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        colors = _area_colors(len(self.classes))
        ax.imshow(
            self.regions,
            **self._image(),
            cmap=ListedColormap(colors),
            vmin=-0.5,
            vmax=len(colors) - 0.5,
            interpolation="nearest",
            alpha=0.8,
        )
        if self.confidence is not None:
            levels = _CONFIDENCE_LEVELS
            levels = levels[(levels > self.confidence.min()) & (levels < self.confidence.max())]
            if len(levels):
                grid = self.coordinates
                contours = ax.contour(
                    grid, grid, self.confidence, levels=levels, colors="black", linewidths=0.7
                )
                ax.clabel(contours, fmt="%.2f", fontsize=7)
        present = np.unique(self.regions)
        handles = [Patch(color=colors[k], label=str(self.classes[k])) for k in present]
        if len(present) == 1:
            _write_in(ax, f"one answer everywhere: {self.classes[present[0]]}")
        if self.true_classes is not None:
            from matplotlib.lines import Line2D

            style = {"color": "none", "marker": "o", "mec": "black", "mfc": "white"}
            handles.append(Line2D([], [], label="true class", **style))
            if self.in_plane is not None and not np.all(self.in_plane):
                # A filled dot is told from an empty one where both stand in the legend.
                handles[-1].set_markerfacecolor("#777777")
                handles.append(Line2D([], [], label="beside the plane", **(style | {"mfc": "none"})))
        legend_above(ax, handles, share=0.8)

    def _plot_rows(self, ax: Axes) -> None:
        """Mark the rows that the plane goes through, in the colour and with the name of their true class."""
        rows = np.zeros((1, 2)) if self.rows is None else self.rows
        if self.true_classes is None:
            ax.plot(*rows.T, "+", color="black", ms=10, mew=2)
            return
        colors = dict(zip(self.classes.tolist(), _area_colors(len(self.classes))))
        in_plane = np.ones(len(rows), dtype=bool) if self.in_plane is None else self.in_plane
        for place, label, is_in_plane in zip(rows, self.true_classes.tolist(), in_plane):
            color = colors.get(label, "white") if is_in_plane else "none"
            ax.plot(*place, "o", mfc=color, mec="black", ms=8, mew=1.5)
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.7}
            # The texts of the rows at the right stand towards the middle, whose own makes room for them.
            side, ha = (-8, "right") if place[0] >= 0 else (8, "left")
            at = {"xytext": (side, 6), "textcoords": "offset points", "ha": ha}
            ax.annotate(str(label), place, fontsize="small", bbox=box, **at)

    def _plot_landscape(self, ax: Axes) -> Any:
        from matplotlib.colors import ListedColormap

        norms = cast(np.ndarray, self.jacobian_norm)
        low, high = norms.min(), norms.max()
        label = f"Frobenius norm of the Jacobian\n(axes in {self.unit})"
        if high - low <= _FLAT * high:
            ax.imshow(norms, **self._image(), cmap=ListedColormap(["#DDDDDD"]))
            _write_in(ax, f"{label}\nthe same everywhere: {high:.3g}")
            return None
        image = ax.imshow(self.jacobian_norm, **self._image(), cmap="cividis")
        return self.figure_.colorbar(image, ax=ax, label=label)

    def _image(self) -> dict[str, Any]:
        low, high = self.coordinates[[0, -1]]
        return {"origin": "lower", "extent": (low, high, low, high), "aspect": "equal"}


def _write_in(ax: Axes, text: str) -> None:
    """Write lines at the lower edge, inside of the axes; the rows lie in the upper half."""
    box = {"boxstyle": "round", "fc": "white", "ec": "none", "alpha": 0.8}
    ax.text(0.5, 0.03, text, transform=ax.transAxes, ha="center", va="bottom", fontsize="small", bbox=box)


def _check_rows(X: Any, y: Any, index: Any) -> tuple[Table, Any]:
    """Return the rows as a `Table` and the labels as an array, after a look at their shapes."""
    table = Table(_OWNER, X)
    if table.is_number.sum() < 2:
        rule = "rows with two features of numbers or more"
        raise parameter_error(_OWNER, "X", rule, table.matrix.shape, ValueError)
    n_rows = len(table)
    check_number(_OWNER, "index", index, f"[{-n_rows}, {n_rows - 1}]", kind=numbers.Integral, also=(None,))
    if y is not None:
        y = np.asarray(y)
        if y.shape != (n_rows,):
            raise parameter_error(_OWNER, "y", f"None or {n_rows} labels, one per row", y.shape, ValueError)
    return table, y


def _steps(scale: Any, table: Table) -> np.ndarray:
    """What a step of 1 means for each feature; 0 for those that stay."""
    if scale is None:
        return table.is_number.astype(float)
    if isinstance(scale, str):
        check_choice(_OWNER, "scale", scale, (None, "std"))
        steps = table.deviation()
    else:
        rule = f"None, 'std' or {table.n_features} numbers of 0 or more"
        steps = as_numbers(_OWNER, "scale", scale, rule)
        if steps.shape != (table.n_features,) or not ((steps >= 0) & np.isfinite(steps)).all():
            raise parameter_error(_OWNER, "scale", rule, scale, ValueError)
        steps = np.where(table.is_number, steps, 0)
    if (steps > 0).sum() < 2:
        raise parameter_error(
            _OWNER, "scale", "above 0 for two columns of numbers or more", scale, ValueError
        )
    return steps


def _places(table: Table, steps: np.ndarray) -> np.ndarray:
    """Return the rows in units of the steps, 0 in columns that stay, and typical values for missing ones."""
    rows = np.where(np.isnan(table.matrix), table.typical(), table.matrix).astype(float)
    # A column without any value has no typical one.
    return np.divide(np.nan_to_num(rows), steps, out=np.zeros_like(rows), where=steps > 0)


def _frequent_row(places: np.ndarray, labels: Any, right: Any) -> int:
    """Return a typical row of the most frequent class, of those that are answered right if there are any."""
    found, counts = np.unique(labels, return_counts=True)
    own = labels == found[counts.argmax()]
    return _typical_rows(places, labels, np.flatnonzero(own & right if (own & right).any() else own))[0]


def _other_rows(places: np.ndarray, labels: Any, index: Any, right: NDArray[np.bool_]) -> list[int]:
    """Return typical rows of the two nearest other classes, or as many as there are and a row beside them."""
    away, other = places - places[index], labels != labels[index]
    # Where a class is never answered right, its own rows stand for it all the same.
    pool = other & (right | ~np.isin(labels, labels[right]))
    typical = _typical_rows(places, labels, np.flatnonzero(pool))
    rows = sorted(typical, key=lambda row: np.linalg.norm(away[row]))[:2]
    while len(rows) < 2:
        rows.append(_median_row(away, away[rows]))
    return rows


def _typical_rows(places: np.ndarray, labels: np.ndarray, pool: np.ndarray) -> list[int]:
    """Return for each label the row in `pool` that is nearest to the median of its rows there."""
    rows = [pool[labels[pool] == label] for label in np.unique(labels[pool])]
    centres = [np.median(places[of_label], axis=0) for of_label in rows]
    distances = [np.linalg.norm(places[own] - centre, axis=1) for own, centre in zip(rows, centres)]
    return [int(own[distance.argmin()]) for own, distance in zip(rows, distances)]


def _median_row(away: np.ndarray, directions: np.ndarray) -> int:
    """Return the row whose distance off the directions is the median of those that are off them."""
    if len(directions):
        basis = np.linalg.qr(directions.T)[0]
        away = away - away @ basis @ basis.T
    distance = np.linalg.norm(away, axis=1)
    off = np.flatnonzero(distance > 1e-9 * max(distance.max(), 1e-300))
    return int(off[np.argsort(distance[off], kind="stable")[len(off) // 2]]) if len(off) else 0


def _completed(directions: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return two independent directions: those given or, where these are none, along columns that move."""
    axes = np.eye(len(steps))[np.flatnonzero(steps)[:2]]
    found: list[np.ndarray] = []
    for direction in [*directions, *axes]:
        if len(found) < 2 and np.linalg.matrix_rank([*found, direction]) > len(found):
            found.append(direction)
    return np.array(found)


def _given_directions(directions: Any, steps: np.ndarray, random_state: Any) -> np.ndarray:
    """Return two directions that the user gave, or drew, without the columns that stay."""
    n_features = len(steps)
    if isinstance(directions, str):
        check_choice(_OWNER, "directions", directions, (None, "random"))
        return seeded_generator(_OWNER, random_state).normal(size=(2, n_features)) * (steps > 0)
    rule = f"None, 'random' or two independent directions, of shape (2, {n_features})"
    given = as_numbers(_OWNER, "directions", directions, rule)
    is_sound = given.shape == (2, n_features) and np.isfinite(given).all()
    if not is_sound or np.linalg.matrix_rank(given * (steps > 0)) < 2:
        raise parameter_error(_OWNER, "directions", rule, directions, ValueError)
    return given * (steps > 0)


def _orthonormal(directions: np.ndarray) -> np.ndarray:
    """Return two directions of length one, at right angles."""
    basis, triangle = np.linalg.qr(directions.T)
    # Signs as given, so that the picture is not mirrored.
    return (basis * np.sign(np.diag(triangle))).T


def _typical_distance(places: np.ndarray, index: Any) -> float:
    """Return the median distance to the other rows."""
    distances = np.linalg.norm(places - places[index], axis=1)
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def _answer(estimator: BaseEstimator, rows: np.ndarray) -> Any:
    """Return encoded predictions and the confidence in them, or None."""
    regions = np.searchsorted(estimator.classes_, estimator.predict(rows))
    if hasattr(estimator, "predict_proba"):
        return regions, estimator.predict_proba(rows).max(axis=1)
    if not hasattr(estimator, "decision_function"):
        return regions, None
    scores = estimator.decision_function(rows)
    scores = np.column_stack([np.zeros(len(scores)), scores]) if scores.ndim == 1 else scores
    return regions, softmax(scores, axis=1).max(axis=1)


def _landscape(
    landscape: bool | str,
    estimator: BaseEstimator,
    table: Table,
    lines: Iterator[Any],
    steps: Any,
    device: Any,
) -> np.ndarray | None:
    """Norms of the Jacobian at the points of all lines, in units of the steps, or None."""
    if not landscape:
        return None
    if not table.is_number.all():
        if landscape == "auto":
            return None
        rule = "'auto' or False where some columns of X hold no numbers"
        raise parameter_error(_OWNER, "landscape", rule, landscape, ValueError)
    device = resolve_device(_OWNER, device)
    dtype = compute_dtype(torch.float64, device)
    try:
        function = to_torch(estimator, device=device, dtype=dtype)
    except NotConvertibleError:
        if landscape == "auto":
            return None
        raise
    steps = as_tensor(steps, dtype=dtype).to(device)
    norms = [jacobian_norms(function, torch.as_tensor(line, dtype=dtype).to(device), steps) for line in lines]
    return torch.stack(norms).cpu().double().numpy()


def _area_colors(n_classes: int) -> list[str]:
    if n_classes <= len(AREAS):
        return list(AREAS[:n_classes])
    import matplotlib.pyplot as plt

    return list(plt.get_cmap("viridis")(np.linspace(0, 1, n_classes)))
