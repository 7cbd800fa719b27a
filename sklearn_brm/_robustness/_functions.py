"""Attack a fitted classifier in its raw input space: adversarial rows, critical radii, robustness curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._base import check_choice, check_number, parameter_error
from ._doubts import warn_about
from ._evaluation import EFFORT, Effort, make_evaluation, spell_out_effort
from ._provers import prover_of
from ._radius import bisect, check_grid, climb_grid, look_again, paper_grid, spanning_grid
from ._results import critical_from, curve_from, examples_at

if TYPE_CHECKING:
    from ._results import AdversarialExamples, CriticalPerturbations, RobustnessCurve
    from ._threat_model import ThreatModel

# How close to come to the radii that are proven, relative to them.
_TOL = 1e-3


@spell_out_effort
def adversarial_examples(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    eps: float = 0.1,
    threat: ThreatModel | None = None,
    **effort: Unpack[Effort],
) -> AdversarialExamples:
    """Search, for every row that is right when clean, a row within `eps` that is not.

    Parameters
    ----------
    estimator : classifier
        Any fitted classifier with `predict`, such as a whole Pipeline: rows are changed in its input space.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Clean rows, of numbers, words, booleans and missing values: whatever the estimator takes.
    y : array-like of shape (n_samples,)
        True labels, of any type.
    eps, threat : see AdversarialScorer
        What an attacker may do.
    attack, n_steps, n_restarts, max_queries, batch_size, device, random_state : see AdversarialScorer
        The effort.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    found : AdversarialExamples
        The rows and what became of each. Every row is clipped, projected and answered wrongly by the
        estimator's own `predict`.

    Raises
    ------
    ValueError
        If a parameter is out of range, a clean row breaks a bound or a constraint, or a gradient attack
        is asked for on an estimator that has none.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Warns
    -----
    RobustnessWarning
        If the numbers should not be believed; see the Notes of `AdversarialScorer`.

    See Also
    --------
    critical_perturbations : The smallest radius of each row.
    robustness_curve : Accuracy at many radii.
    AdversarialScorer : The same as a scorer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_brm import adversarial_examples
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> found = adversarial_examples(model, X, y, eps=0.3, random_state=0)
    >>> found.clean_accuracy, found.robust_accuracy
    (0.97..., 0.68...)
    >>> bool((model.predict(found.X) == y).mean() == found.robust_accuracy)
    True
    """
    owner = "adversarial_examples"
    check_number(owner, "eps", eps, "[0, inf)")
    evaluation = make_evaluation(owner, estimator, X, y, threat=threat, **effort)
    found = examples_at(evaluation, eps)
    warn_about(evaluation, eps=eps, standing=found.outcome == "standing")
    return found


@spell_out_effort
def critical_perturbations(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    eps: ArrayLike | None = None,
    threat: ThreatModel | None = None,
    method: str = "bisect",
    max_eps: float | None = None,
    certify: bool = False,
    **effort: Unpack[Effort],
) -> CriticalPerturbations:
    """Search, for every row that is right when clean, the smallest perturbation that changes the answer.

    Parameters
    ----------
    estimator, X, y, attack : see adversarial_examples
        What is attacked, and how.
    method : {"bisect", "grid"}, default="bisect"
        ``"bisect"`` closes in on each row's radius from both sides, to one percent, or to five where
        the estimator has no gradient; rows that always stand are tried at further radii. ``"grid"`` is the
        protocol of the paper: attack at every radius of a rising grid, and keep the first that succeeds.
    eps : array-like of shape (n_eps,), default=None
        The grid, for ``method="grid"``; None is the paper's 400 radii, from 1e-6 to 10**-1.5 on a
        logarithmic scale, or to 8 for noise.
    max_eps : float, default=None
        Largest radius to look at, for ``method="bisect"``. None is the distance across the data.
    threat : see AdversarialScorer
        What an attacker may do.
    certify : bool, default=False
        Whether to prove radii from below too, as `certified_radii` does.
    n_steps, n_restarts, max_queries, batch_size, device, random_state : see AdversarialScorer
        The effort, per radius tried.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    found : CriticalPerturbations
        Radii, and the rows that prove them.

    Raises
    ------
    ValueError
        As `adversarial_examples`; NotCertifiableError as `certify`.

    See Also
    --------
    robustness_curve : Accuracy at many radii.
    certified_radii : Radii below which nothing breaks a row.

    Notes
    -----
    With ``method="grid"``, ``attack="pgd"`` takes 20 steps of 0.01, or of a tenth of eps below 0.1, on plain
    cross-entropy from the clean row and looks at the last point only, so it reaches no further than 0.2;
    ``"fgsm"`` and ``"gaussian"`` follow the paper likewise. The paper measures the Euclidean length, which is
    `l2_norm` here, whatever the norm of the ball, and counts only rows that are right when clean.

    References
    ----------
    Holzhausen et al., "Exploring Biologically Inspired Mechanisms of Adversarial Robustness", Neural
    Computing and Applications, 2025, doi:10.1007/s00521-025-11019-6.

    Examples
    --------
    For a linear classifier the distance to the boundary is known in closed form:

    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_brm import ThreatModel, critical_perturbations
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, y = scale(X)[:50], y[:50]
    >>> model = LogisticRegression().fit(X, y)
    >>> found = critical_perturbations(model, X, y, threat=ThreatModel(norm=2), random_state=0)
    >>> exact = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
    >>> right = model.predict(X) == y
    >>> bool(np.all(np.abs(found.radius[right] / exact[right] - 1) < 0.01))
    True
    """
    owner = "critical_perturbations"
    check_choice(owner, "method", method, ("bisect", "grid"))
    check_choice(owner, "certify", certify, (True, False))
    check_number(owner, "max_eps", max_eps, "(0, inf)", also=(None,))
    eps = _check_used(owner, "eps", eps, "method='grid'", method == "grid")
    max_eps = _check_used(owner, "max_eps", max_eps, "method='bisect'", method == "bisect")
    if eps is not None:
        eps = check_grid(owner, eps)
    evaluation = make_evaluation(owner, estimator, X, y, threat=threat, **effort)
    prover = prover_of(evaluation) if certify else None
    if method == "grid":
        grid = paper_grid(evaluation.plan) if eps is None else eps
        radii, _ = climb_grid(evaluation, grid)
        max_eps = grid[-1]
    else:
        max_eps = evaluation.threat.reach if max_eps is None else float(max_eps)
        radii = bisect(evaluation, max_eps=max_eps)
    found = critical_from(evaluation, radii, prover.radii(max_eps, _TOL) if prover else None)
    warn_about(evaluation, eps=max_eps, standing=np.isinf(found.radius))
    return found


@spell_out_effort
def robustness_curve(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    eps: ArrayLike | None = None,
    threat: ThreatModel | None = None,
    method: str = "bisect",
    certify: bool = False,
    sample_weight: ArrayLike | None = None,
    **effort: Unpack[Effort],
) -> RobustnessCurve:
    """Accuracy under attack at many radii, which never rises.

    Parameters
    ----------
    estimator, X, y, attack : see adversarial_examples
        What is attacked, and how.
    eps : array-like of shape (n_eps,), default=None
        Radii of the curve, in units of `scale`. None is, for ``method="bisect"``, 20 radii on a logarithmic
        scale that span what happens: 32 rows, drawn with a fixed seed, are attacked first at radii a factor
        of 2 apart, and the curve goes from where nearly all of them stand to where nearly none does, at most
        to the distance across the data in the columns that may move. For ``method="grid"`` it is the paper's
        400.
    method : {"bisect", "grid"}, default="bisect"
        ``"bisect"`` looks for the two neighbouring radii between which each row breaks. ``"grid"`` attacks
        every row at every radius, as the paper does.
    threat : see AdversarialScorer
        What an attacker may do.
    certify : bool, default=False
        Whether to compute the share of rows too that bounds prove to stand, see `certify` without its search.
    n_steps, n_restarts, max_queries, batch_size, device, random_state : see AdversarialScorer
        The effort, per radius tried.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the accuracies.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    curve : RobustnessCurve

    Raises
    ------
    ValueError
        As `adversarial_examples`.

    See Also
    --------
    critical_perturbations : The radii themselves.

    Notes
    -----
    A row that breaks within one radius is broken within every larger one. An attack may nevertheless find
    nothing at the larger, which is warned about before the running minimum is taken. ``method="grid"``
    compares all accuracies; ``method="bisect"`` attacks a tenth of the rows, 20 to 100, once more at a random
    radius of the curve above the one it found, and at one below.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from sklearn_brm import robustness_curve
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SVC().fit(X, y)
    >>> curve = robustness_curve(model, X, y, eps=[0.1, 0.3, 1.0], random_state=0)
    >>> curve.accuracy.round(2)
    array([0.93, 0.77, 0.03])
    """
    owner = "robustness_curve"
    check_choice(owner, "method", method, ("bisect", "grid"))
    check_choice(owner, "certify", certify, (True, False))
    if eps is not None:
        eps = check_grid(owner, eps)
    evaluation = make_evaluation(owner, estimator, X, y, threat=threat, **effort)
    weight = evaluation.table.weights(owner, sample_weight)
    prover = prover_of(evaluation) if certify else None
    if method == "grid":
        eps = paper_grid(evaluation.plan) if eps is None else eps
        radii, n_standing = climb_grid(evaluation, eps, every_row=True)
        evaluation.findings.weaker_at_larger_eps = (
            int(np.diff(n_standing).clip(min=0).max(initial=0)),
            evaluation.findings.n_attacked,
        )
    else:
        eps = spanning_grid([evaluation]) if eps is None else eps
        radii = bisect(evaluation, grid=eps, max_eps=eps[-1])
        evaluation.findings.weaker_at_larger_eps = look_again(evaluation, radii, eps)
    curve = curve_from(evaluation, radii, eps, weight, prover.certified(eps) if prover else None)
    evaluation.findings.smallest_eps = eps[0], bool((curve.radius <= eps[0]).all())
    warn_about(evaluation, eps=eps[-1], standing=np.isinf(curve.radius))
    return curve


def common_radii(estimators: Any, X: Any, y: Any, parameters: dict[str, Any]) -> np.ndarray:
    """Return the radii that `robustness_curve` would choose, with these parameters, for all estimators."""
    effort = {name: value for name, value in parameters.items() if name in (*EFFORT, "threat")}
    # A generator given as random_state shall not advance before the curves are computed.
    effort["random_state"] = 0
    return spanning_grid([make_evaluation("robustness_curve", one, X, y, **effort) for one in estimators])


def _check_used(owner: object, name: str, value: Any, condition: str, holds: bool) -> Any:
    """Refuse a parameter that would be ignored."""
    if value is not None and not holds:
        raise parameter_error(owner, name, f"None unless {condition}", value, ValueError)
    return value
