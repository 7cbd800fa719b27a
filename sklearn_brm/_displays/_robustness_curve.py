"""Accuracy under attack against the size of the perturbation, beside the critical norms."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._base import as_numbers, check_choice, parameter_error
from .._robustness import ThreatModel, common_radii, curve_of_predictions, robustness_curve
from ._style import MARKERS, check_axes, legend_above, resolve_axes, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from .._robustness._results import RobustnessCurve

_OWNER = "RobustnessCurveDisplay"
# A letter of the names under the boxes is about this wide, in inches. Names that do not fit are turned, and
# broken after so many letters.
_LETTER, _LONG_LINE = 0.07, 24


class RobustnessCurveDisplay:
    """Accuracy of one or several classifiers under attack, and their critical norms as box plots.

    It is recommended to use `from_estimator` or `from_predictions` to create one. All parameters are
    stored as attributes.

    Parameters
    ----------
    curves : dict of str to RobustnessCurve
        Results of `robustness_curve` by name. One without `l2_norm` has no box.
    threat : ThreatModel, default=None
        What the attacker may do, for the label.
    relative : bool, default=False
        Whether to show the share of the rows that are right when clean, instead of all rows.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes of the curves and, where there are boxes, those of the boxes.
    ax_ : matplotlib Axes
        The axes of the curves.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : list of matplotlib Line2D
        One curve per classifier.
    boxes_ : dict of lists of matplotlib artists or None
        What matplotlib's `boxplot` returns.

    See Also
    --------
    robustness_curve : Computes a curve.
    TradeOffDisplay : Two scores of many candidates of a search.

    Notes
    -----
    A box shows the quartiles of the Euclidean lengths, in raw units, of the smallest perturbations on the
    curve that broke a row, over the rows that were right when clean and were broken; whiskers reach to 1.5
    times the distance between the quartiles. The name and the share of such rows that were broken stand
    below: a box over few rows is that of the weakest. The marker on its median is that of the curve.

    The band around a curve is `RobustnessCurve.interval`, within which another draw of rows may put it; it is
    one for the share of all rows, and not drawn with ``relative=True``. With ``certify=True`` a dashed line
    is the share that is proven to stand; what is hatched lies between what attacks break and what none can.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_brm import RobustnessCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> models = {f"C={C}": LogisticRegression(C=C, max_iter=1000).fit(X, y) for C in (0.01, 100)}
    >>> display = RobustnessCurveDisplay.from_estimator(models, X, y, attack="pgd", random_state=0)
    >>> bool((display.curves["C=100"].accuracy[1:] <= display.curves["C=100"].accuracy[:-1]).all())
    True
    """

    ax_: Axes
    axes_: NDArray[np.object_]
    figure_: Figure
    lines_: list[Line2D]
    boxes_: dict[str, list[Any]] | None

    def __init__(
        self, *, curves: dict[str, RobustnessCurve], threat: ThreatModel | None = None, relative: bool = False
    ) -> None:
        self.curves = curves
        self.threat = threat
        self.relative = relative

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Mapping[str, BaseEstimator],
        X: ArrayLike,
        y: ArrayLike,
        *,
        name: str | None = None,
        relative: bool = False,
        ax: Axes | None = None,
        **parameters: Any,
    ) -> Self:
        """Attack one or several fitted classifiers and draw what is left of their accuracy.

        Parameters
        ----------
        estimator : classifier, list of classifiers or dict of str to classifier
            Fitted classifiers or Pipelines.
        X : array-like of shape (n_samples, n_features)
            Clean rows.
        y : array-like of shape (n_samples,)
            True labels.
        name : str or list of str, default=None
            Names for the legend; None takes the keys of a dict, else the names of the classes.
        relative : bool, default=False
            Whether to show the share of the rows that are right when clean, instead of all rows.
        ax : matplotlib Axes or pair of them, default=None
            Where to draw the curves or, given two, the curves and the boxes. None makes a new figure.
        **parameters : dict
            Handed to `robustness_curve`, such as `eps`, `threat`, `attack`, `random_state`. Without `eps`
            all curves share radii that span what happens to any of the estimators.

        Returns
        -------
        display : RobustnessCurveDisplay
            The picture and what is in it.
        """
        check_axes(f"{_OWNER}.from_estimator", ax, at_most=2)
        check_choice(f"{_OWNER}.from_estimator", "relative", relative, (True, False))
        estimators = _named_estimators(estimator, name)
        is_searched = parameters.get("eps") is None and parameters.get("method", "bisect") == "bisect"
        if (
            is_searched
            and len(estimators) > 1
            and set(parameters) <= set(signature(robustness_curve).parameters)
        ):
            parameters["eps"] = common_radii(estimators.values(), X, y, parameters)
        curves = {key: robustness_curve(one, X, y, **parameters) for key, one in estimators.items()}
        return cls(curves=curves, threat=parameters.get("threat"), relative=relative).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike | Mapping[str, ArrayLike],
        *,
        eps: ArrayLike,
        l2_norm: ArrayLike | Mapping[str, ArrayLike] | None = None,
        name: str | None = None,
        threat: ThreatModel | None = None,
        relative: bool = False,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the accuracy of predictions made elsewhere, one set for each size of perturbation.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_pred : array-like of shape (n_eps, n_samples) or dict of str to such
            What was predicted for the same rows under each perturbation. A row counts as broken from the
            first wrong answer on, so that the accuracy never rises.
        eps : array-like of shape (n_eps,)
            Sizes of the perturbations, rising. The first one is 0: the answers to the clean rows.
        l2_norm : array-like of shape (n_eps, n_samples) or dict of str to such, default=None
            Euclidean lengths of the perturbations, for the boxes.
        name : str, default=None
            Name for the legend, where `y_pred` is no dict.
        threat : ThreatModel, default=None
            How `eps` is measured, for the label.
        relative : bool, default=False
            Whether to show the share of the rows that are right when clean, instead of all rows.
        ax : matplotlib Axes or pair of them, default=None
            Where to draw the curves or, given two, the curves and the boxes. None makes a new figure.

        Returns
        -------
        display : RobustnessCurveDisplay
            The picture and what is in it.

        Raises
        ------
        ValueError
            If `eps` does not start with 0 and rise, or the shapes do not fit.
        """
        owner = f"{_OWNER}.from_predictions"
        check_axes(owner, ax, at_most=2)
        check_choice(owner, "relative", relative, (True, False))
        if name is not None and not isinstance(name, str):
            raise parameter_error(owner, "name", "a str or None", name)
        rule = "two or more rising numbers of which the first is 0, the clean rows"
        eps = as_numbers(owner, "eps", eps, rule)
        if eps.ndim != 1 or len(eps) < 2 or eps[0] != 0 or not (np.diff(eps) > 0).all():
            raise parameter_error(owner, "eps", rule, eps, ValueError)
        if threat is not None and not isinstance(threat, ThreatModel):
            raise parameter_error(owner, "threat", "a ThreatModel or None", threat)
        if isinstance(y_pred, Mapping) and not y_pred:
            rule = "predictions, or a dict of one or more sets by name"
            raise parameter_error(owner, "y_pred", rule, y_pred, ValueError)
        sets: Any = y_pred
        lengths: Any = l2_norm
        if not isinstance(y_pred, Mapping):
            name = "classifier" if name is None else name
            sets, lengths = {name: y_pred}, None if l2_norm is None else {name: l2_norm}
        lengths = lengths or {}
        curves = {key: _curve(y_true, answers, eps, lengths.get(key)) for key, answers in sets.items()}
        return cls(curves=curves, threat=threat, relative=relative).plot(ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the curves and, beside them, the boxes.

        Parameters
        ----------
        ax : matplotlib Axes or pair of them, default=None
            Where to draw the curves or, given two, the curves and the boxes. None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `plot` of every curve.

        Returns
        -------
        display : RobustnessCurveDisplay
            This object.
        """
        with_norms = {name: curve for name, curve in self.curves.items() if curve.l2_norm is not None}
        box_width = 1.4 + 0.95 * len(with_norms)
        ratios = [5.5, box_width] if with_norms else None
        axes = resolve_axes(
            f"{_OWNER}.plot",
            ax,
            2 if with_norms else 1,
            at_most=2,
            width=5.5 + (box_width if with_norms else 0),
            width_ratios=ratios,
        )
        self.axes_ = np.array(axes, dtype=object)
        self.ax_, self.figure_ = axes[0], axes[0].figure
        self.lines_ = self._plot_curves(self.ax_, kwargs)
        self.boxes_ = self._plot_boxes(axes[1], with_norms) if with_norms and len(axes) > 1 else None
        return self

    def _plot_curves(self, ax: Axes, kwargs: dict[Any, Any]) -> list[Line2D]:
        is_log = spans_decades(np.concatenate([curve.eps[curve.eps > 0] for curve in self.curves.values()]))
        lines = []
        for i, (name, curve) in enumerate(self.curves.items()):
            eps, accuracy = _points(curve, self.relative, is_log)
            style = {"marker": MARKERS[i % len(MARKERS)], "markersize": 4}
            style["label"] = f"{name} (clean {curve.clean_accuracy:.2f})"
            lines += ax.plot(eps, accuracy, **(style | kwargs))
            self._plot_band(ax, curve, lines[-1])
            self._plot_gap(ax, curve, lines[-1], is_log)
        ax.set_xscale("log" if is_log else "linear")
        share = "of rows right when clean" if self.relative else "of all rows"
        ax.set(xlabel=self._eps_label(), ylabel=f"accuracy under attack (share {share})", ylim=(-0.02, 1.02))
        legend_above(ax)
        return lines

    def _plot_band(self, ax: Axes, curve: RobustnessCurve, line: Line2D) -> None:
        """Shade the interval within which another draw of rows may put the curve."""
        if curve.interval is None or self.relative:
            return
        shown = curve.eps > 0
        ax.fill_between(curve.eps[shown], *curve.interval[:, shown], color=line.get_color(), alpha=0.12, lw=0)

    def _plot_gap(self, ax: Axes, curve: RobustnessCurve, line: Line2D, is_log: bool) -> None:
        """Hatch what lies between the attacks and what is proven, down to a dashed line."""
        if curve.certified_accuracy is None:
            return
        below = curve.certified_accuracy
        below = below / curve.clean_accuracy if self.relative and curve.clean_accuracy else below
        above = curve.relative_accuracy if self.relative else curve.accuracy
        shown = (curve.eps > 0) | (not is_log)
        color = line.get_color()
        ax.plot(curve.eps[shown], below[shown], "--", color=color, lw=1, label=f"{line.get_label()}, proven")
        gap = {"facecolor": "none", "edgecolor": color, "alpha": 0.5, "hatch": "////", "lw": 0}
        ax.fill_between(curve.eps[shown], below[shown], above[shown], **gap)

    def _plot_boxes(self, ax: Any, curves: Any) -> dict[str, list[Line2D]]:
        broken = {name: _critical_norms(curve) for name, curve in curves.items()}
        positions = np.arange(len(broken))
        boxes = ax.boxplot(
            [norms for norms, _ in broken.values()],
            positions=positions,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": "black"},
            showfliers=False,
        )
        lines = dict(zip(self.curves, self.lines_))
        for position, (name, (norms, _)), box in zip(positions, broken.items(), boxes["boxes"]):
            box.set(facecolor=lines[name].get_color(), alpha=0.7)
            # The curve's marker, since colours alone do not tell everyone which box is whose.
            median = np.median(norms) if len(norms) else np.nan
            ax.plot(position, median, lines[name].get_marker(), color="black", markersize=6)
        _write_names(ax, {name: f"{share:.0%} broken" for name, (_, share) in broken.items()})
        if spans_decades(np.concatenate([norms for norms, _ in broken.values()])):
            ax.set_yscale("log")
        ax.set(ylabel="critical norm (Euclidean length, raw units)")
        return boxes

    def _eps_label(self) -> str:
        threat = ThreatModel() if self.threat is None else self.threat
        return f"perturbation size ({threat.size_words()})"


def _named_estimators(estimator: BaseEstimator, name: Any) -> Any:
    """The classifiers by the names that the legend shows, each name once."""
    owner = f"{_OWNER}.from_estimator"
    if isinstance(estimator, (Mapping, list, tuple)) and not estimator:
        rule = "a fitted classifier, or a list or dict of one or more"
        raise parameter_error(owner, "estimator", rule, estimator, ValueError)
    if isinstance(estimator, Mapping):
        return estimator
    estimators = list(estimator) if isinstance(estimator, (list, tuple)) else [estimator]
    names = [name] if isinstance(name, str) else name
    names = [type(one).__name__ for one in estimators] if names is None else names
    rule = f"{len(estimators)} different names, one per estimator"
    if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) for one in names):
        raise parameter_error(owner, "name", rule, names)
    if len(names) != len(estimators) or len(set(names)) != len(names):
        raise parameter_error(owner, "name", rule, names, ValueError)
    return dict(zip(names, estimators))


def _write_names(ax: Axes, notes: Any) -> None:
    """Write each name, and a note about it, under its box: upright where both fit, turned where not."""
    notes = {str(name): note for name, note in notes.items()}
    room = int(ax.get_window_extent().width / ax.figure.dpi / len(notes) / _LETTER)
    lines = {name: [*textwrap.wrap(name, room, break_long_words=False), note] for name, note in notes.items()}
    if all(len(line) <= room for both in lines.values() for line in both):
        ax.set_xticks(range(len(notes)), ["\n".join(both) for both in lines.values()], fontsize="small")
        return
    labels = ["\n".join([*textwrap.wrap(name, _LONG_LINE), note]) for name, note in notes.items()]
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(notes)), labels, fontsize="small", **turned)


def _curve(
    y_true: Any,
    y_pred: list[np.ndarray] | np.ndarray,
    eps: np.ndarray,
    l2_norm: list[list[float]] | np.ndarray | None,
) -> RobustnessCurve:
    """Check predictions at each size of perturbation, and return their `RobustnessCurve`."""
    owner, y_true, y_pred = f"{_OWNER}.from_predictions", np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1:
        raise parameter_error(owner, "y_true", "one label per row", y_true, ValueError)
    expected = (len(eps), len(y_true))
    rule = f"of shape (n_eps, n_samples) = {expected}"
    if y_pred.shape != expected:
        raise parameter_error(owner, "y_pred", rule, y_pred.shape, ValueError)
    if l2_norm is not None:
        l2_norm = as_numbers(owner, "l2_norm", l2_norm, rule)
        if l2_norm.shape != expected:
            raise parameter_error(owner, "l2_norm", rule, l2_norm.shape, ValueError)
    return curve_of_predictions(y_true, y_pred, eps, l2_norm)


def _points(curve: RobustnessCurve, relative: bool, is_log: bool) -> tuple[np.ndarray, np.ndarray]:
    """What to draw of a curve: from the clean rows on, which a logarithmic scale cannot show."""
    accuracy = curve.relative_accuracy if relative else curve.accuracy
    if is_log:
        return curve.eps[curve.eps > 0], accuracy[curve.eps > 0]
    if curve.eps[0] == 0:
        return curve.eps, accuracy
    clean = 1.0 if relative else curve.clean_accuracy
    return np.append(0.0, curve.eps), np.append(clean, accuracy)


def _critical_norms(curve: RobustnessCurve) -> tuple[np.ndarray, np.float64]:
    """Norms of the rows that were broken, and their share of those that were right when clean."""
    attacked = curve.radius > 0
    norms = cast(np.ndarray, curve.l2_norm)
    broken = attacked & np.isfinite(norms)
    return norms[broken], broken.sum() / max(attacked.sum(), 1)
