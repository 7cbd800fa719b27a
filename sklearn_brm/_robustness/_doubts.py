"""Reasons not to believe a robustness figure as it stands, with the numbers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ._evaluation import Evaluation

# From this factor between the ranges of columns on, one eps for all is worth a warning.
_DIFFERENT_SPREAD = 10
# Fewer rows of one class that stand may be an accident.
_FEWEST = 10


class RobustnessWarning(UserWarning):
    """A robustness number should not be believed as it stands; the message says which and why."""


def warn_about(evaluation: Evaluation, *, eps: float, standing: NDArray[np.bool_]) -> None:
    """Warn, once and with the numbers, about everything that makes robustness look larger than it is."""
    messages = doubts(evaluation, eps=eps, standing=standing)
    if messages:
        warnings.warn(" ".join(messages.values()), RobustnessWarning, stacklevel=3)


def doubts(evaluation: Evaluation, *, eps: float, standing: NDArray[np.bool_]) -> dict[Any, Any]:
    """Return the reasons not to believe the numbers, by kind; the rows `standing` do so at `eps`."""
    findings, n, n_standing = evaluation.findings, evaluation.findings.n_attacked, int(standing.sum())
    n_flat, n_blind = int(evaluation.flat.sum()), int(evaluation.only_black_box.sum())
    found = {}
    n_changed, n_asked = findings.n_changed_minds
    if n_changed:
        found["random"] = (
            f"The estimator answers {n_changed} of {n_asked} rows differently when asked twice: "
            "an attack has to be lucky only once, so fix its random state."
        )
    if findings.n_mismatched:
        found["mismatch"] = (
            f"The estimator as a torch function disagrees with its own scores on {findings.n_mismatched} of "
            f"{len(evaluation.table)} rows: it was attacked as a black box instead, which is weaker."
        )
    if n_flat > 0.05 * n:
        found["flat"] = (
            f"The gradient is exactly zero at {n_flat} of {n} rows, where gradient attacks only grope: "
            "robustness may be overstated. More restarts or queries help."
        )
    if _several(n_blind, n):
        rules = evaluation.threat.rules
        reason = "the gradients mislead"
        if rules.relations or rules.project is not None:
            reason = "gradients know nothing of relations and projections"
        found["black_box"] = (
            f"The black box broke {n_blind} of {n} rows that every gradient attack had left standing: "
            f"{reason}. Raise max_queries and believe the number only once it stops falling."
        )
    if _several(*findings.weaker_at_larger_eps):
        found["rising"] = (
            "Before the running minimum is taken, accuracy rises with eps by up to {} of {} rows: the attack "
            "is too weak. Use attack='worst_case', or more steps, restarts and queries.".format(
                *findings.weaker_at_larger_eps
            )
        )
    threat = evaluation.threat
    if n and threat.moves_numbers and 0 < threat.reach <= eps and n_standing > 0.1 * n:
        found["standing"] = (
            f"{n_standing} of {n} rows still stand at eps={eps:.3g}, as far as from one end of the data to "
            "the other: the attack is too weak, or the constraints leave it no room."
        )
    return found | _doubts_of_units(evaluation) | _doubts_of_labels(evaluation, standing)


def _doubts_of_units(evaluation: Evaluation) -> dict[Any, Any]:
    """Say so where one eps for all columns, or the smallest of a curve, means nothing on this table."""
    found, ratio = {}, evaluation.spread_ratio()
    if ratio > _DIFFERENT_SPREAD:
        found["units"] = (
            f"The columns differ in spread by a factor of {ratio:.3g}, and eps is the same number in each. "
            "Give threat=ThreatModel.from_data(X_train), and eps counts in standard deviations."
        )
    eps, broke_all = evaluation.findings.smallest_eps
    if broke_all and evaluation.findings.n_attacked:
        found["grid"] = (
            f"Every row is broken at the smallest radius of the curve, eps={eps:.3g}: it shows nothing. "
            "Start at a smaller one."
        )
    return found


def _doubts_of_labels(evaluation: Evaluation, standing: NDArray[np.bool_]) -> dict[Any, Any]:
    """Say so where labels are strange, or where answering always the same would be as robust."""
    attacked, found = evaluation.attacked, {}
    y, predicted, n_standing = attacked.y, attacked.predicted, standing.sum()
    if len(attacked.strange):
        n_strange = np.isin(y, attacked.strange).sum()
        found["labels"] = (
            f"The estimator never saw the labels {attacked.strange.tolist()}, of {n_strange} rows, which "
            "count as wrong."
        )
    if (y == y[0]).all():
        return found
    if (predicted == predicted[0]).all():
        found["constant"] = (
            f"The estimator answers {predicted.tolist()[0]!r} for each of the {len(y)} rows: it is robust "
            "because it does not look at them."
        )
    elif n_standing >= _FEWEST and (y[standing] == y[standing][0]).all():
        label = y[standing].tolist()[0]
        n_of_class = (y == label).sum()
        if n_standing >= n_of_class / 2:
            found["one_class"] = (
                f"All {n_standing} rows that stand are of class {label!r}: an estimator that always answers "
                f"so would be right, and robust, on {n_of_class} of {len(y)} rows."
            )
    return found


def _several(count: int, n: int) -> bool:
    """Tell whether so many rows of n are no accident."""
    return count >= 3 and count > 0.01 * n
