"""What a classifier answers on a plane through one row, and how steep it is there."""

import numbers

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base import as_numbers, as_tensor, check_choice, check_number, parameter_error, resolve_device
from .._bridge import NotConvertibleError, to_torch
from ._style import AREAS, check_axes, legend_above, resolve_axes

_OWNER = "DecisionPlaneDisplay.from_estimator"
_UNITS = {"std": "standard deviations"}
_CONFIDENCE_LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])


class DecisionPlaneDisplay:
    """The classes on a plane through a row, with contours of the confidence, and the norm of the Jacobian.

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

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Axes of the regions and, where it is known, of the Jacobian norm.
    ax_ : matplotlib Axes
        Axes of the regions.
    figure_ : matplotlib Figure
        Figure that holds them.
    colorbar_ : matplotlib Colorbar or None
        Scale of the Jacobian norm.

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
    >>> display = DecisionPlaneDisplay.from_estimator(model, X, index=60, resolution=21, random_state=0)
    >>> display.regions.shape
    (21, 21)

    The Jacobian of a linear model is the same everywhere:

    >>> bool(abs(display.jacobian_norm - (model.coef_**2).sum() ** 0.5).max() < 1e-12)
    True
    """

    def __init__(
        self, *, coordinates, regions, classes, confidence=None, jacobian_norm=None, unit="raw units"
    ):
        self.coordinates = coordinates
        self.regions = regions
        self.classes = classes
        self.confidence = confidence
        self.jacobian_norm = jacobian_norm
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        index=0,
        directions=None,
        scale=None,
        extent=None,
        resolution=101,
        landscape="auto",
        landscape_of=None,
        device="auto",
        random_state=None,
        ax=None,
    ):
        """Ask a fitted classifier about a grid of points on a plane, and draw its answers.

        Parameters
        ----------
        estimator : classifier
            A fitted classifier or Pipeline.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Numeric rows, with two features or more.
        index : int, default=0
            The row of `X` in the middle of the plane.
        directions : array-like of shape (2, n_features), default=None
            The plane's directions, in units of `scale`; they are made orthonormal. None draws two at random.
        scale : None, "std" or array-like of shape (n_features,), default=None
            What a step of 1 means for each feature: 1, its standard deviation in `X`, or a number.
        extent : float, default=None
            How far the plane reaches from the row, in units of `scale`. None is the median distance
            between the row and the others.
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
            Determines the directions.
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
        if landscape_of is not None and (isinstance(landscape_of, type) or not hasattr(landscape_of, "fit")):
            raise parameter_error(_OWNER, "landscape_of", "a fitted estimator or None", landscape_of)
        check_is_fitted(estimator)
        if np.ndim(getattr(estimator, "classes_", None)) != 1:
            raise parameter_error(_OWNER, "estimator", "a fitted classifier of one label per row", estimator)
        if landscape_of is not None:
            check_is_fitted(landscape_of)
        rows = _check_rows(X, index)

        steps = _steps(scale, rows)
        plane = _orthonormal(directions, rows.shape[1], random_state) * steps
        extent = _typical_distance(rows, rows[index], steps) if extent is None else float(extent)
        coordinates = np.linspace(-extent, extent, resolution)

        def lines():
            # One line of points after the other, so that memory does not grow with the area.
            return (
                rows[index] + second * plane[1] + np.outer(coordinates, plane[0]) for second in coordinates
            )

        answers = [_answer(estimator, X, line) for line in lines()]
        source = estimator if landscape_of is None else landscape_of
        display = cls(
            coordinates=coordinates,
            regions=np.array([regions for regions, _ in answers]),
            classes=estimator.classes_,
            confidence=None if answers[0][1] is None else np.array([confidence for _, confidence in answers]),
            jacobian_norm=_landscape(landscape, source, lines(), steps, device),
            unit="raw units" if scale is None else _UNITS.get(str(scale), "units of scale"),
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
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
            one.plot(0, 0, "+", color="black", ms=10, mew=2)
            one.set(xlabel=f"first direction ({self.unit})", ylabel=f"second direction ({self.unit})")
        return self

    def _plot_regions(self, ax):
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
        patches = [Patch(color=colors[k], label=str(self.classes[k])) for k in present]
        legend_above(ax, patches, share=0.8)

    def _plot_landscape(self, ax):
        image = ax.imshow(self.jacobian_norm, **self._image(), cmap="cividis")
        return self.figure_.colorbar(
            image, ax=ax, label=f"Frobenius norm of the Jacobian (axes in {self.unit})"
        )

    def _image(self):
        low, high = self.coordinates[[0, -1]]
        return {"origin": "lower", "extent": (low, high, low, high), "aspect": "equal"}


def _check_rows(X, index):
    """Return the rows as numbers, after looking at their shape and at the index of the one in the middle."""
    rows = as_numbers(_OWNER, "X", X, "a dense table of numbers")
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise parameter_error(_OWNER, "X", "of two features or more", rows.shape, ValueError)
    check_number(_OWNER, "index", index, f"[{-len(rows)}, {len(rows) - 1}]", kind=numbers.Integral)
    return rows


def _steps(scale, rows):
    """What a step of 1 means for each feature."""
    if scale is None:
        return np.ones(rows.shape[1])
    if isinstance(scale, str):
        check_choice(_OWNER, "scale", scale, (None, "std"))
        return rows.std(axis=0)
    rule = f"None, 'std' or {rows.shape[1]} numbers of 0 or more"
    steps = as_numbers(_OWNER, "scale", scale, rule)
    if steps.shape != (rows.shape[1],) or not ((steps >= 0) & np.isfinite(steps)).all():
        raise parameter_error(_OWNER, "scale", rule, scale, ValueError)
    return steps


def _orthonormal(directions, n_features, random_state):
    """Two directions of length one, at right angles."""
    if directions is None:
        directions = check_random_state(random_state).normal(size=(2, n_features))
    rule = f"two independent directions, of shape (2, {n_features})"
    directions = as_numbers(_OWNER, "directions", directions, rule)
    is_finite = np.isfinite(directions).all()
    if directions.shape != (2, n_features) or not is_finite or np.linalg.matrix_rank(directions) < 2:
        raise parameter_error(_OWNER, "directions", rule, directions, ValueError)
    basis, triangle = np.linalg.qr(directions.T)
    # Signs as given, so that the picture is not mirrored.
    return (basis * np.sign(np.diag(triangle))).T


def _typical_distance(rows, row, steps):
    """Median distance to the other rows, over the features that may move."""
    moves = steps > 0
    distances = np.linalg.norm((rows - row)[:, moves] / steps[moves], axis=1)
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def _answer(estimator, X, rows):
    """Encoded predictions and the confidence in them, or None."""
    if hasattr(X, "columns"):
        rows = type(X)(rows, columns=X.columns)
    regions = np.searchsorted(estimator.classes_, estimator.predict(rows))
    if hasattr(estimator, "predict_proba"):
        return regions, estimator.predict_proba(rows).max(axis=1)
    if not hasattr(estimator, "decision_function"):
        return regions, None
    scores = estimator.decision_function(rows)
    scores = np.column_stack([np.zeros(len(scores)), scores]) if scores.ndim == 1 else scores
    return regions, softmax(scores, axis=1).max(axis=1)


def _landscape(landscape, estimator, lines, steps, device):
    """Norms of the Jacobian at the points of all lines, in units of the steps, or None."""
    if not landscape:
        return None
    device = resolve_device(_OWNER, device)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    try:
        function = to_torch(estimator, device=device, dtype=dtype)
    except NotConvertibleError:
        if landscape == "auto":
            return None
        raise
    steps = as_tensor(steps, dtype=dtype).to(device)
    norms = [jacobian_norms(function, torch.as_tensor(line, dtype=dtype).to(device), steps) for line in lines]
    return torch.stack(norms).cpu().double().numpy()


def jacobian_norms(function, X, steps):
    """Frobenius norm of the Jacobian of each row's outputs with respect to ``X / steps``."""
    X = X.requires_grad_()
    outputs = function(X)
    squares = torch.zeros(len(X), device=X.device, dtype=X.dtype)
    for output in outputs.unbind(dim=1):
        if output.requires_grad:
            (gradient,) = torch.autograd.grad(output.sum(), X, retain_graph=True)
            squares += (gradient * steps).square().sum(dim=1)
    return squares.sqrt().detach()


def _area_colors(n_classes):
    if n_classes <= len(AREAS):
        return list(AREAS[:n_classes])
    import matplotlib.pyplot as plt

    return list(plt.get_cmap("viridis")(np.linspace(0, 1, n_classes)))
