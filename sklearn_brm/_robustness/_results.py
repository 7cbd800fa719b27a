"""What the attacks found, as documented objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._intervals import CONFIDENCE, share_interval
from ._provers import proven_to_stand
from ._units import unit_words

if TYPE_CHECKING:
    from ._evaluation import Evaluation
    from ._radius import Radii


@dataclass(frozen=True)
class AdversarialExamples:
    """What `adversarial_examples` found, one entry per row of `X`.

    Attributes
    ----------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The adversarial rows; the clean row wherever none was found.
    outcome : ndarray of str of shape (n_samples,)
        ``"wrong_when_clean"`` (never attacked), ``"broken"`` or ``"standing"``.
    distance : ndarray of shape (n_samples,)
        Size of the perturbation in the requested norm, in units of `scale`; 0 where there is none.
    l2_norm : ndarray of shape (n_samples,)
        Euclidean length of the perturbation in raw units; 0 where there is none.
    attack : ndarray of str of shape (n_samples,)
        Name of the attack that broke the row, ``""`` where none did.
    n_queries : ndarray of int of shape (n_samples,)
        How many points around this row a black box asked the estimator about.
    n_changes : ndarray of int of shape (n_samples,)
        How many categories, booleans and missing values of the row are others.
    y : ndarray of shape (n_samples,)
        The true labels.
    proven : ndarray of bool of shape (n_samples,)
        Rows that bounds prove to stand, see `certify`: the worst case, on a processor, does not attack them.
        False wherever no proof was sought.
    moves : ndarray of shape (n_samples, n_features)
        By how much each number was moved, in units of `scale`; inf where a category, a boolean or a missing
        value was changed.
    names : list
        Names of the columns, or their positions where they have none.
    unit : str
        What `distance` and `moves` count, in words, such as "standard deviations".
    """

    X: np.ndarray
    outcome: np.ndarray
    distance: np.ndarray
    l2_norm: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray
    n_changes: np.ndarray
    y: np.ndarray
    proven: np.ndarray
    moves: np.ndarray
    names: list[Any]
    unit: str = "units of scale"

    @property
    def clean_accuracy(self) -> float:
        """Share of rows that are right when clean."""
        return float(np.mean(self.outcome != "wrong_when_clean"))

    @property
    def robust_accuracy(self) -> float:
        """Share of rows that are right when clean and under attack."""
        return float(np.mean(self.outcome == "standing"))

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return an interval for the robust accuracy on the population that the rows are drawn from.

        Parameters
        ----------
        confidence : float, default=0.95
            Coverage, at least.

        Returns
        -------
        low, high : float
            Clopper and Pearson's interval. It knows the luck of the draw of rows, not a better attack.
        """
        low, high = share_interval(self.robust_accuracy, np.ones(len(self.outcome)), confidence)
        return float(low), float(high)

    def by_class(self, confidence: float = CONFIDENCE) -> dict[Any, Any]:
        """Return the figures of each class.

        Parameters
        ----------
        confidence : float, default=0.95
            Coverage of the intervals, at least.

        Returns
        -------
        figures : dict
            By label, a dict of ``n_samples``, ``clean_accuracy``, ``robust_accuracy`` and ``interval``.
        """
        figures = {}
        for label in np.unique(self.y):
            outcome = self.outcome[self.y == label]
            robust = float(np.mean(outcome == "standing"))
            low, high = share_interval(robust, np.ones(len(outcome)), confidence)
            figures[label.item() if hasattr(label, "item") else label] = {
                "n_samples": len(outcome),
                "clean_accuracy": float(np.mean(outcome != "wrong_when_clean")),
                "robust_accuracy": robust,
                "interval": (float(low), float(high)),
            }
        return figures


@dataclass(frozen=True)
class CriticalPerturbations:
    """What `critical_perturbations` found, one entry per row of `X`.

    Attributes
    ----------
    radius : ndarray of shape (n_samples,)
        Smallest radius found that changes the prediction, in the requested norm and in units of
        `scale`; 0 where the row is wrong when clean or a change of category alone breaks it, as `outcome`
        tells, inf where none was found.
    l2_norm : ndarray of shape (n_samples,)
        Its Euclidean length in raw units (the critical norm of the paper); 0 and inf likewise.
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The adversarial rows; the clean row wherever none was found.
    outcome : ndarray of str of shape (n_samples,)
        ``"wrong_when_clean"``, ``"broken"`` or ``"standing"``.
    attack : ndarray of str of shape (n_samples,)
        Name of the attack that found the perturbation, ``""`` where none did.
    n_queries : ndarray of int of shape (n_samples,)
        How many points around this row a black box asked the estimator about.
    n_changes : ndarray of int of shape (n_samples,)
        How many categories, booleans and missing values of the row are others.
    radius_lower : ndarray of shape (n_samples,) or None
        Largest radius that is proven to change nothing, where that was asked for; at most `radius`.
    """

    radius: np.ndarray
    l2_norm: np.ndarray
    X: np.ndarray
    outcome: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray
    n_changes: np.ndarray
    radius_lower: np.ndarray | None = None


@dataclass(frozen=True)
class RobustnessCurve:
    """What `robustness_curve` found.

    Attributes
    ----------
    eps : ndarray of shape (n_eps,)
        Radii, rising, in units of `scale`.
    accuracy : ndarray of shape (n_eps,)
        Share of all rows that are right when clean and under every attack up to this radius; never rises.
    relative_accuracy : ndarray of shape (n_eps,)
        The same as a share of the rows that are right when clean.
    clean_accuracy : float
        Share of rows that are right when clean.
    radius : ndarray of shape (n_samples,)
        Per row, the smallest radius of the curve that broke it; 0 where the row is wrong when clean,
        inf where none did.
    l2_norm : ndarray of shape (n_samples,)
        Euclidean length of that perturbation in raw units; 0 and inf likewise.
    interval : ndarray of shape (2, n_eps) or None
        Ends of the 95% interval of Clopper and Pearson for `accuracy` on the population that the rows are
        drawn from. It knows the luck of the draw of rows, not a better attack.
    certified_accuracy : ndarray of shape (n_eps,) or None
        Share of all rows that are right and proven to stand at this radius, where that was asked for: what a
        better attack would leave lies between it and `accuracy`.
    """

    eps: np.ndarray
    accuracy: np.ndarray
    relative_accuracy: np.ndarray
    clean_accuracy: float
    radius: np.ndarray
    l2_norm: np.ndarray | None
    interval: np.ndarray | None = None
    certified_accuracy: np.ndarray | None = None


def examples_at(evaluation: Evaluation, eps: float) -> AdversarialExamples:
    """Attack every row that is right at one radius and return the `AdversarialExamples`.

    The worst case spares itself the rows that bounds prove to stand.
    """
    proven = proven_to_stand(evaluation, eps)
    rows = np.flatnonzero(evaluation.attacked.right & ~proven)
    X, by = evaluation.table.matrix.copy(), np.full(len(evaluation.table), None, dtype=object)
    X[rows], _, by[rows] = evaluation.run(rows, np.full(len(rows), float(eps)))
    everyone = np.arange(len(evaluation.table))
    return AdversarialExamples(
        X=evaluation.table.restore(X, everyone),
        outcome=_outcome(evaluation, by),
        distance=evaluation.threat.distance(X, evaluation.table.matrix),
        l2_norm=_l2(evaluation, X),
        attack=_labels(by),
        n_queries=evaluation.n_queries.copy(),
        n_changes=evaluation.threat.n_changes(X, evaluation.table.matrix),
        y=evaluation.attacked.y,
        proven=proven,
        moves=evaluation.threat.moves(X, evaluation.table.matrix),
        names=list(evaluation.table.keys()),
        unit=unit_words(evaluation.threat.model.scale),
    )


def critical_from(
    evaluation: Evaluation, radii: Radii, radius_lower: np.ndarray | None = None
) -> CriticalPerturbations:
    """Return what a search for radii found, and what was proven, as `CriticalPerturbations`."""
    l2_norm = np.where(np.isinf(radii.radius), np.inf, _l2(evaluation, radii.X))
    return CriticalPerturbations(
        radius=radii.radius,
        l2_norm=l2_norm,
        X=evaluation.table.restore(radii.X, np.arange(len(evaluation.table))),
        outcome=_outcome(evaluation, radii.by),
        attack=_labels(radii.by),
        n_queries=evaluation.n_queries.copy(),
        n_changes=evaluation.threat.n_changes(radii.X, evaluation.table.matrix),
        radius_lower=radius_lower,
    )


def curve_from(
    evaluation: Evaluation,
    radii: Radii,
    eps: np.ndarray,
    weight: np.ndarray | None,
    certified: NDArray[np.bool_] | None = None,
) -> RobustnessCurve:
    """Return the `RobustnessCurve` that radii per row mean, and rows that are `certified` at each radius."""
    right, place = evaluation.attacked.right, np.searchsorted(eps, radii.radius)
    radius = np.where(right, np.append(eps, np.inf)[place], 0.0)
    standing = right[:, None] & (radius[:, None] > eps[None])
    clean = float(np.average(right, weights=weight))
    accuracy = np.average(standing, axis=0, weights=weight)
    return RobustnessCurve(
        eps=eps,
        accuracy=accuracy,
        relative_accuracy=accuracy / clean if clean else np.full(len(eps), np.nan),
        clean_accuracy=clean,
        radius=radius,
        l2_norm=np.where(np.isinf(radius), np.inf, _l2(evaluation, radii.X)),
        interval=np.array(share_interval(accuracy, np.ones(len(right)) if weight is None else weight)),
        certified_accuracy=None if certified is None else np.average(certified, axis=0, weights=weight),
    )


def curve_of_predictions(
    y_true: np.ndarray, y_pred: np.ndarray, eps: np.ndarray, l2_norm: np.ndarray | None = None
) -> RobustnessCurve:
    """Return the `RobustnessCurve` of predictions made at each size of perturbation.

    Parameters
    ----------
    y_true : ndarray of shape (n_samples,)
    y_pred : ndarray of shape (n_eps, n_samples)
        A row counts as broken from the first wrong answer on.
    eps : ndarray of shape (n_eps,)
        Rising; the first is 0, the clean rows.
    l2_norm : ndarray of shape (n_eps, n_samples) or None
        Euclidean lengths of the perturbations.
    """
    is_wrong = np.logical_or.accumulate(y_pred != y_true, axis=0)
    is_broken, first = is_wrong[-1], is_wrong.argmax(axis=0)
    accuracy, clean = 1 - is_wrong.mean(axis=1), 1 - is_wrong[0].mean()
    if l2_norm is not None:
        length = np.where(is_broken, l2_norm[first, np.arange(len(y_true))], np.inf)
        l2_norm = np.where(is_wrong[0], 0.0, length)
    return RobustnessCurve(
        eps=eps,
        accuracy=accuracy,
        relative_accuracy=accuracy / clean if clean else np.full(len(eps), np.nan),
        clean_accuracy=float(clean),
        radius=np.where(is_broken, eps[first], np.inf),
        l2_norm=l2_norm,
        interval=np.array(share_interval(accuracy, np.ones(len(y_true)))),
    )


def _outcome(evaluation: Evaluation, by: np.ndarray) -> np.ndarray:
    standing = np.where(_labels(by) == "", "standing", "broken")
    return np.where(evaluation.attacked.right, standing, "wrong_when_clean")


def _labels(by: np.ndarray) -> np.ndarray:
    return np.array(["" if attack is None else attack.label for attack in by], dtype=str)


def _l2(evaluation: Evaluation, X: np.ndarray) -> np.ndarray:
    return evaluation.threat.l2_norm(X, evaluation.table.matrix)
