"""Two scores of every candidate of a search against each other, with the front of the best trade-offs."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._base import parameter_error
from .._robustness import AdversarialScorer, ThreatModel
from ..functional.fronts import pareto_front
from ._style import check_axes, legend_above, resolve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# A value so many times as far from the median as the middle one is far out, if without all such the axis
# would be so many times shorter.
_FAR, _SQUEEZED = 10, 4
# Artists that mark what lies beyond the axes carry this name, so that another display in them starts anew.
_BEYOND = "beyond the axes"
_LINE = 44


class TradeOffDisplay:
    """Two scores of many candidates, such as accuracy and robust accuracy, and their Pareto front.

    A candidate is on the front when no other is at least as good in both scores and better in one. It is
    recommended to use `from_cv_results` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    x, y : array-like of shape (n_candidates,)
        The two scores; larger is better. Candidates with a NaN (a failed fit) are not drawn.
    x_std, y_std : array-like of shape (n_candidates,), default=None
        Their standard deviations over the folds, drawn as bars on the front.
    x_label, y_label : str, default="accuracy", "robust accuracy"
        Labels of the axes.
    colors : array-like of shape (n_candidates,), default=None
        A number per candidate, to be shown as colour; on a logarithmic scale where it spans more than
        a factor of 20.
    colors_label : str, default=None
        What that number is.
    chosen : int, default=None
        Index of the candidate that the search chose.
    name : str, default=None
        What the candidates have in common, for the legend.

    Attributes
    ----------
    on_front : ndarray of shape (n_candidates,), dtype=bool
        Which candidates are on the Pareto front.
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.
    front_ : matplotlib Line2D
        The front, as a staircase.
    points_ : matplotlib PathCollection
        All candidates.
    colorbar_ : matplotlib Colorbar or None
        The scale of the colours.

    See Also
    --------
    AdversarialScorer : A scorer for the second axis.
    RobustnessCurveDisplay : Accuracy of a few estimators at many sizes of perturbation.

    Notes
    -----
    A candidate far from all others does not squeeze them: a value ten times as far from the median as the
    middle one is left out of the limits, if that makes the axis a quarter as long or less. A triangle at the
    edge points to such a candidate, with both of its scores. Limits that were set before stay.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_brm import TradeOffDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> scoring = {"accuracy": "accuracy", "certain": "neg_log_loss"}
    >>> model = LogisticRegression(max_iter=1000)
    >>> search = GridSearchCV(model, {"C": [0.01, 0.1, 1]}, scoring=scoring, refit="accuracy")
    >>> display = TradeOffDisplay.from_cv_results(search.fit(X, y), y="certain", color_by="C")
    >>> display.on_front
    array([False, False,  True])
    """

    ax_: Axes
    figure_: Figure
    points_: PathCollection
    front_: Line2D
    colorbar_: Colorbar | None

    def __init__(
        self,
        *,
        x: ArrayLike,
        y: ArrayLike,
        x_std: ArrayLike | None = None,
        y_std: ArrayLike | None = None,
        x_label: str = "accuracy",
        y_label: str = "robust accuracy",
        colors: ArrayLike | None = None,
        colors_label: str | None = None,
        chosen: int | None = None,
        name: str | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.x_std = x_std
        self.y_std = y_std
        self.x_label = x_label
        self.y_label = y_label
        self.colors = colors
        self.colors_label = colors_label
        self.chosen = chosen
        self.name = name

    @classmethod
    def from_cv_results(
        cls,
        search: BaseEstimator,
        x: str = "accuracy",
        y: str = "robust",
        *,
        color_by: str | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw two scores of every candidate of a search.

        Parameters
        ----------
        search : fitted search or dict
            A fitted `GridSearchCV`, `RandomizedSearchCV` or the like with two scores or more, or its
            `cv_results_`, which do not know the threat.
        x, y : str, default="accuracy", "robust"
            Names of the scores in the search's `scoring`. The label of one by `AdversarialScorer` says what
            the attacker may do.
        color_by : str, default=None
            Name of a searched numeric parameter to show as colour; the end of its name, such as ``"alpha"``
            for ``"wta__classifier__alpha"``, will do where it is the only one.
        name : str, default=None
            Name of the candidates in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `scatter`.

        Returns
        -------
        display : TradeOffDisplay
            The picture and what is in it.

        Raises
        ------
        ValueError
            If the search has no such score or parameter.
        """
        owner = f"{cls.__name__}.from_cv_results"
        check_axes(owner, ax)
        for parameter, value in {"x": x, "y": y, "color_by": color_by, "name": name}.items():
            if not isinstance(value, str) and (value is not None or parameter in ("x", "y")):
                raise parameter_error(owner, parameter, "a str", value)
        results = getattr(search, "cv_results_", search)
        if not isinstance(results, dict) or not any(str(key).startswith("mean_test_") for key in results):
            raise parameter_error(owner, "search", "a fitted search or its cv_results_", search, TypeError)
        color_by = None if color_by is None else _full_path(results, color_by)
        display = cls(
            x=_column(results, "mean_test_", x, "x"),
            y=_column(results, "mean_test_", y, "y"),
            x_std=results.get(f"std_test_{x}"),
            y_std=results.get(f"std_test_{y}"),
            x_label=_label(search, results, x),
            y_label=_label(search, results, y),
            colors=None if color_by is None else _column(results, "param_", color_by, "color_by"),
            colors_label=None if color_by is None else _short_path(color_by, _searched(results)),
            chosen=getattr(search, "best_index_", None),
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    @property
    def on_front(self) -> NDArray[np.bool_]:
        """Which candidates no other one beats."""
        return pareto_front(self.x, self.y)

    def plot(self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the candidates, their front, and the chosen one.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure. Several displays can share one.
        name : str, default=None
            Name of the candidates in the legend; None takes the one given before.
        **kwargs : dict
            Handed to matplotlib's `scatter`.

        Returns
        -------
        display : TradeOffDisplay
            This object.
        """
        owner = f"{type(self).__name__}.plot"
        if name is not None and not isinstance(name, str):
            raise parameter_error(owner, "name", "a str or None", name)
        (self.ax_,) = resolve_axes(owner, ax)
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        self.front_ = self._plot_front(f"{name}: Pareto front" if name else "Pareto front")
        self.points_ = self._plot_points(None if name else "candidate", kwargs)
        self.colorbar_ = self._plot_colorbar()
        if self.chosen is not None:
            self._plot_chosen("chosen by its search")
        self.ax_.set(xlabel=self.x_label, ylabel=self.y_label)
        _leave_out_far(self.ax_, always=None if self.chosen is None else self._point(self.chosen))
        legend_above(self.ax_, share=1.0 if self.colors is None else 0.8)
        return self

    def _plot_front(self, label: str) -> Line2D:
        x, y = np.asarray(self.x, dtype=float), np.asarray(self.y, dtype=float)
        front = np.flatnonzero(self.on_front)
        front = front[np.lexsort([-y[front], x[front]])]
        (line,) = self.ax_.plot(x[front], y[front], drawstyle="steps-pre", label=label, zorder=1)
        if self.x_std is not None and self.y_std is not None:
            spread = {"xerr": np.asarray(self.x_std)[front], "yerr": np.asarray(self.y_std)[front]}
            self.ax_.errorbar(
                x[front], y[front], **spread, fmt="none", color=line.get_color(), alpha=0.35, zorder=1
            )
        return line

    def _plot_points(self, label: str | None, kwargs: dict[Any, Any]) -> Any:
        color = self.front_.get_color()
        style = {"s": np.where(self.on_front, 45, 20), "edgecolors": color, "linewidths": 1.0, "zorder": 2}
        if self.colors is None:
            # Full markers are on the front, empty ones are beaten by another candidate.
            style["c"] = [color if on_front else "white" for on_front in self.on_front]
        else:
            style |= {
                "c": np.asarray(self.colors, dtype=float),
                "norm": _norm(self.colors),
                "cmap": "cividis",
            }
        return self.ax_.scatter(self.x, self.y, **({"label": label} | style | kwargs))

    def _plot_colorbar(self) -> Any:
        if self.colors is None:
            return None
        return self.figure_.colorbar(self.points_, ax=self.ax_, label=self.colors_label)

    def _point(self, index: Any) -> tuple[float, float]:
        return float(np.asarray(self.x)[index]), float(np.asarray(self.y)[index])

    def _plot_chosen(self, label: str) -> None:
        self.ax_.plot(*self._point(self.chosen), "o", ms=14, mfc="none", color="black", label=label, zorder=3)


def _column(results: dict[str, Any], prefix: str, name: str, parameter: str) -> np.ndarray:
    if prefix + name in results:
        return np.asarray(results[prefix + name], dtype=float)
    found = sorted(key.removeprefix(prefix) for key in results if key.startswith(prefix))
    raise ValueError(
        f"The {parameter!r} parameter of TradeOffDisplay.from_cv_results must be one of {found}. "
        f"Got {name!r} instead."
    )


def _searched(results: dict[str, Any]) -> list[str]:
    return [key.removeprefix("param_") for key in results if key.startswith("param_")]


def _full_path(results: dict[str, Any], name: str) -> str:
    """Return the searched parameter of this name, or the only one that ends in it."""
    paths = _searched(results)
    found = [path for path in paths if path.endswith(f"__{name}")]
    return found[0] if name not in paths and len(found) == 1 else name


def _short_path(path: str, paths: list[str]) -> str:
    """Return the shortest end of a parameter's path that no other path shares."""
    parts = path.split("__")
    for n in range(1, len(parts)):
        end = "__".join(parts[-n:])
        if sum(f"__{other}".endswith(f"__{end}") for other in paths) == 1:
            return end
    return path


def _label(search: BaseEstimator, results: dict[str, Any], score: str) -> str:
    n_folds = sum(re.fullmatch(rf"split\d+_test_{re.escape(score)}", key) is not None for key in results)
    label = f"{score.replace('_', ' ')} (mean of {n_folds} folds)"
    scorer = getattr(search, "scoring", None)
    if isinstance(scorer, dict):
        scorer = scorer.get(score)
    # Of the scores that one scorer gives for metric="all", this one knows no attacker.
    if not isinstance(scorer, AdversarialScorer) or (scorer.metric == "all" and score == "accuracy"):
        return label
    threat = ThreatModel() if scorer.threat is None else scorer.threat
    is_radius = "median_critical_perturbation" in (scorer.metric, score)
    words = threat.size_words() if is_radius else threat.limit_words(scorer.eps)
    return "\n".join([label, *_lines(words.replace("; ", ";\n").splitlines())])


def _lines(parts: Any) -> Any:
    """Return lines of several parts each, or of a piece of a long one."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) < _LINE:
            lines[-1] += f" {part}"
        else:
            lines += textwrap.wrap(part, _LINE)
    return lines


def _leave_out_far(ax: Axes, always: tuple[float, float] | None) -> None:
    """Set limits that hold all points in the axes but those far out, and point to these at the edge."""
    from matplotlib.collections import PathCollection

    marks = [artist for artist in [*ax.lines, *ax.texts] if artist.get_gid() == _BEYOND]
    for artist in marks:
        artist.remove()
    if marks:
        ax.autoscale()
    scatters = [artist for artist in ax.collections if isinstance(artist, PathCollection)]
    points = np.concatenate([np.ma.filled(artist.get_offsets(), np.nan) for artist in scatters])
    points = points[np.isfinite(points).all(axis=1)]
    limits = []
    for axis, is_free in enumerate([ax.get_autoscalex_on(), ax.get_autoscaley_on()]):
        held = None if always is None else always[axis]
        found = _limits(points[:, axis], held) if is_free and len(points) else None
        set_limits = (ax.set_xlim, ax.set_ylim)[axis]
        limits.append(set_limits(*found) if found else (-np.inf, np.inf))
    if np.isfinite(limits).any():
        _mark_beyond(ax, points, np.transpose(limits))


def _limits(values: np.ndarray, held: float | None) -> Any:
    """Return limits without the values far out, or None where all can be shown."""
    distance = np.abs(values - np.median(values))
    kept = values[distance <= _FAR * np.median(distance)]
    kept = kept if held is None else np.append(kept, held)
    span = np.ptp(kept)
    if span == 0 or np.ptp(values) <= _SQUEEZED * span:
        return None
    return kept.min() - 0.1 * span, kept.max() + 0.1 * span


def _mark_beyond(ax: Axes, points: Any, limits: Any) -> None:
    """Draw a triangle, and the scores, at the edge next to each point outside of the limits."""
    edge = np.clip(points, *limits)
    for point, place in zip(points, edge):
        if (point == place).all():
            continue
        axis = int(point[0] == place[0])
        is_above = point[axis] > place[axis]
        ax.plot(
            *place, "<>v^"[2 * axis + is_above], color="black", ms=7, clip_on=False, zorder=4, gid=_BEYOND
        )
        # The text stands inside of the axes.
        offset = [(8, 0), (-8, 0), (0, 8), (0, -8)][2 * axis + is_above]
        aligned = {"ha": "center", "va": "center"}
        aligned |= [{"ha": "left"}, {"ha": "right"}, {"va": "bottom"}, {"va": "top"}][2 * axis + is_above]
        ax.annotate(
            f"({point[0]:.3g}, {point[1]:.3g})",
            place,
            xytext=offset,
            textcoords="offset points",
            fontsize="small",
            gid=_BEYOND,
            **aligned,
        )


def _norm(colors: ArrayLike) -> Any:
    from matplotlib.colors import LogNorm

    values = np.asarray(colors, dtype=float)
    return LogNorm() if values.min() > 0 and values.max() > 20 * values.min() else None
