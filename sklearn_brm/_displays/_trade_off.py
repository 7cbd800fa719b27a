"""Two scores of every candidate of a search against each other, with the front of the best trade-offs."""

import re

import numpy as np

from .._base import parameter_error
from ._style import check_axes, legend_above, resolve_axes


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

    def __init__(
        self,
        *,
        x,
        y,
        x_std=None,
        y_std=None,
        x_label="accuracy",
        y_label="robust accuracy",
        colors=None,
        colors_label=None,
        chosen=None,
        name=None,
    ):
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
        cls, search, x="accuracy", y="robust", *, color_by=None, name=None, ax=None, **kwargs
    ):
        """Draw two scores of every candidate of a search.

        Parameters
        ----------
        search : fitted search or dict
            A fitted `GridSearchCV`, `RandomizedSearchCV` or the like with two scores or more, or its
            `cv_results_`.
        x, y : str, default="accuracy", "robust"
            Names of the scores in the search's `scoring`.
        color_by : str, default=None
            Name of a searched numeric parameter to show as colour.
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
        display = cls(
            x=_column(results, "mean_test_", x, "x"),
            y=_column(results, "mean_test_", y, "y"),
            x_std=results.get(f"std_test_{x}"),
            y_std=results.get(f"std_test_{y}"),
            x_label=_label(results, x),
            y_label=_label(results, y),
            colors=None if color_by is None else _column(results, "param_", color_by, "color_by"),
            colors_label=color_by,
            chosen=getattr(search, "best_index_", None),
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    @property
    def on_front(self):
        """Which candidates no other one beats."""
        return pareto_front(self.x, self.y)

    def plot(self, ax=None, *, name=None, **kwargs):
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
        legend_above(self.ax_, share=1.0 if self.colors is None else 0.8)
        return self

    def _plot_front(self, label):
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

    def _plot_points(self, label, kwargs):
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

    def _plot_colorbar(self):
        if self.colors is None:
            return None
        return self.figure_.colorbar(self.points_, ax=self.ax_, label=self.colors_label)

    def _plot_chosen(self, label):
        x, y = np.asarray(self.x)[self.chosen], np.asarray(self.y)[self.chosen]
        self.ax_.plot(x, y, "o", ms=14, mfc="none", color="black", label=label, zorder=3)


def pareto_front(x, y):
    """Return which points no other point beats: as good in both coordinates and better in one.

    Points with a NaN are not on the front and beat none.
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    as_good = (points[:, None] >= points[None]).all(axis=2)
    better = (points[:, None] > points[None]).any(axis=2)
    return ~(as_good & better).any(axis=0) & ~np.isnan(points).any(axis=1)


def _column(results, prefix, name, parameter):
    if prefix + name in results:
        return np.asarray(results[prefix + name], dtype=float)
    found = sorted(key.removeprefix(prefix) for key in results if key.startswith(prefix))
    raise ValueError(
        f"The {parameter!r} parameter of TradeOffDisplay.from_cv_results must be one of {found}. "
        f"Got {name!r} instead."
    )


def _label(results, score):
    n_folds = sum(re.fullmatch(rf"split\d+_test_{re.escape(score)}", key) is not None for key in results)
    return f"{score.replace('_', ' ')} (mean of {n_folds} folds)"


def _norm(values):
    from matplotlib.colors import LogNorm

    values = np.asarray(values, dtype=float)
    return LogNorm() if values.min() > 0 and values.max() > 20 * values.min() else None
