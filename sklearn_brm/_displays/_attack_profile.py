"""Which columns break a model: how often an attack moved each of them, and how far."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._base import check_number, parameter_error
from .._robustness import AdversarialExamples, adversarial_examples
from ._style import PALETTE, check_axes, resolve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

_OWNER = "AttackProfileDisplay"


class AttackProfileDisplay:
    """Share of the broken rows in which each column was changed, beside how far it was moved.

    It is recommended to use `from_estimator` or `from_examples` to create one. All parameters are stored as
    attributes.

    Parameters
    ----------
    names : list of str
        Names of the columns, the most often changed first.
    share : ndarray of shape (n_columns,)
        Share of the broken rows in which the column was changed.
    distance : ndarray of shape (n_columns,)
        Median move of numbers where they moved, in units of the threat's `scale`; NaN for categories and for
        columns that never moved.
    n_broken : int
        Number of broken rows.
    unit : str, default="units of scale"
        What `distance` counts.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes of the shares and those of the moves.
    ax_ : matplotlib Axes
        The axes of the shares.
    figure_ : matplotlib Figure
        Figure that holds them.
    bars_ : matplotlib BarContainer
        The shares.

    See Also
    --------
    adversarial_examples : Attacks rows.
    RobustnessCurveDisplay : Accuracy under attack against the size of the perturbation.

    Notes
    -----
    In the L-infinity norm most attacks move every column that they may, whether or not that helps; in L1 they
    move those that matter.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_brm import AttackProfileDisplay, ThreatModel
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> threat = ThreatModel.from_data(X, norm=1)
    >>> display = AttackProfileDisplay.from_estimator(model, X, y, eps=0.5, threat=threat, random_state=0)
    >>> display.names[0]
    'petal length (cm)'
    """

    ax_: Axes
    axes_: NDArray[np.object_]
    figure_: Figure
    bars_: BarContainer

    def __init__(
        self,
        *,
        names: Sequence[Any],
        share: np.ndarray,
        distance: np.ndarray,
        n_broken: int,
        unit: str = "units of scale",
    ) -> None:
        self.names = names
        self.share = share
        self.distance = distance
        self.n_broken = n_broken
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_columns: int = 20,
        ax: Axes | None = None,
        **parameters: Any,
    ) -> Self:
        """Attack a fitted classifier and draw what was changed to break it.

        Parameters
        ----------
        estimator : classifier
            A fitted classifier or Pipeline.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Clean rows.
        y : array-like of shape (n_samples,)
            True labels.
        n_columns : int, default=20
            Columns to show, at most: those changed most often.
        ax : pair of matplotlib Axes, default=None
            Where to draw the shares and the moves. None makes a new figure.
        **parameters : dict
            Handed to `adversarial_examples`, such as `eps`, `threat`, `random_state`.

        Returns
        -------
        display : AttackProfileDisplay
            The picture and what is in it.
        """
        check_axes(f"{_OWNER}.from_estimator", ax, at_most=2)
        check_number(f"{_OWNER}.from_estimator", "n_columns", n_columns, "[1, inf)", kind=numbers.Integral)
        found = adversarial_examples(estimator, X, y, **parameters)
        return cls.from_examples(found, n_columns=n_columns, ax=ax)

    @classmethod
    def from_examples(
        cls, found: AdversarialExamples, *, n_columns: int = 20, ax: Axes | None = None
    ) -> Self:
        """Draw what `adversarial_examples` changed.

        Parameters
        ----------
        found : AdversarialExamples
            What it returned.
        n_columns : int, default=20
            Columns to show, at most: those changed most often.
        ax : pair of matplotlib Axes, default=None
            Where to draw the shares and the moves. None makes a new figure.

        Returns
        -------
        display : AttackProfileDisplay
            The picture and what is in it.
        """
        owner = f"{_OWNER}.from_examples"
        check_axes(owner, ax, at_most=2)
        check_number(owner, "n_columns", n_columns, "[1, inf)", kind=numbers.Integral)
        if not isinstance(found, AdversarialExamples):
            raise parameter_error(owner, "found", "what adversarial_examples returns", found, TypeError)
        moves = np.abs(found.moves[found.outcome == "broken"])
        share = (moves > 0).mean(axis=0) if len(moves) else np.zeros(moves.shape[1])
        order = np.argsort(-share, kind="stable")[:n_columns]
        display = cls(
            names=[str(found.names[j]) for j in order],
            share=share[order],
            distance=np.array([_median_move(moves[:, j]) for j in order]),
            n_broken=len(moves),
            unit=found.unit,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the shares and the moves.

        Parameters
        ----------
        ax : pair of matplotlib Axes, default=None
            Where to draw the shares and the moves. None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `barh` for the shares.

        Returns
        -------
        display : AttackProfileDisplay
            This object.
        """
        height = 1.2 + 0.26 * len(self.names)
        axes = resolve_axes(f"{_OWNER}.plot", ax, 2, at_most=2, width=8.0, height=height, width_ratios=[3, 2])
        self.axes_ = np.array(axes, dtype=object)
        self.ax_, self.figure_ = axes[0], axes[0].figure
        places = np.arange(len(self.names))[::-1]
        self.bars_ = axes[0].barh(places, self.share, **({"color": PALETTE[0], "height": 0.7} | kwargs))
        axes[0].set_yticks(places, self.names)
        axes[0].set(xlim=(0, 1), xlabel=f"share of the {self.n_broken} broken rows in which it was changed")
        if len(axes) > 1:
            self._plot_moves(axes[1], places)
        return self

    def _plot_moves(self, ax: Axes, places: np.ndarray) -> None:
        ax.plot(self.distance, places, "o", color=PALETTE[1], ms=5)
        for place, distance, share in zip(places, self.distance, self.share):
            if np.isnan(distance) and share > 0:
                ax.annotate(
                    "another category",
                    (0.03, place),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=8,
                )
        ax.set_yticks(places, [])
        ax.set_ylim(self.ax_.get_ylim())
        farthest = np.nanmax(self.distance, initial=0)
        ax.set(xlim=(0, 1.08 * farthest if farthest > 0 else 1), xlabel=f"median move ({self.unit})")


def _median_move(moves: np.ndarray) -> float:
    """Return the median of the moves of a column of numbers where it moved, NaN where it never did."""
    sizes = moves[np.isfinite(moves) & (moves > 0)]
    return float(np.median(sizes)) if len(sizes) else np.nan
