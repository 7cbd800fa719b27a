"""Attack a fitted classifier in its raw input space: adversarial rows, critical radii, robustness curves."""

import numbers
from dataclasses import dataclass

import numpy as np

from .._base import check_choice, check_number, parameter_error
from ._attacks import ATTACKS
from ._radius import bisect, climb_grid
from ._siege import Siege, warn_about
from ._table import Table
from ._threat import resolve_threat


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
    """

    X: np.ndarray
    outcome: np.ndarray
    distance: np.ndarray
    l2_norm: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray

    @property
    def clean_accuracy(self):
        """Share of rows that are right when clean."""
        return float(np.mean(self.outcome != "wrong_when_clean"))

    @property
    def robust_accuracy(self):
        """Share of rows that are right when clean and under attack."""
        return float(np.mean(self.outcome == "standing"))


@dataclass(frozen=True)
class CriticalPerturbations:
    """What `critical_perturbations` found, one entry per row of `X`.

    Attributes
    ----------
    radius : ndarray of shape (n_samples,)
        Smallest radius found that changes the prediction, in the requested norm and in units of
        `scale`; 0 where the row is wrong when clean, inf where none was found.
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
    """

    radius: np.ndarray
    l2_norm: np.ndarray
    X: np.ndarray
    outcome: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray


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
    """

    eps: np.ndarray
    accuracy: np.ndarray
    relative_accuracy: np.ndarray
    clean_accuracy: float
    radius: np.ndarray
    l2_norm: np.ndarray


def adversarial_examples(
    estimator,
    X,
    y,
    *,
    attack="worst_case",
    eps=0.1,
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=1024,
    device="auto",
    random_state=None,
    verbose=0,
):
    """Search, for every row that is right when clean, a row within `eps` that is not.

    Parameters
    ----------
    estimator : classifier
        Any fitted classifier with `predict`, such as a whole Pipeline: rows are changed in its input space.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Clean rows. Columns of a DataFrame that are not numeric are held fixed.
    y : array-like of shape (n_samples,)
        True labels, of any type.
    attack, eps, norm, scale, reference_X, bounds, constraints : see AdversarialScorer
        The threat model.
    n_steps, n_restarts, max_queries, batch_size, device, random_state : see AdversarialScorer
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
    siege = lay_siege(
        owner,
        estimator,
        X,
        y,
        attack=attack,
        norm=norm,
        scale=scale,
        reference_X=reference_X,
        bounds=bounds,
        constraints=constraints,
        n_steps=n_steps,
        n_restarts=n_restarts,
        max_queries=max_queries,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
        verbose=verbose,
    )
    found = examples_at(siege, eps)
    warn_about(siege, eps=eps, n_standing=int((found.outcome == "standing").sum()))
    return found


def examples_at(siege, eps):
    """Attack every row that is right at one radius and return the `AdversarialExamples`."""
    rows = np.flatnonzero(siege.victim.right)
    X, by = siege.table.matrix.copy(), np.full(len(siege.table), "", dtype=object)
    X[rows], _, by[rows] = siege.storm(rows, np.full(len(rows), float(eps)))
    everyone = np.arange(len(siege.table))
    return AdversarialExamples(
        X=siege.table.restore(X, everyone),
        outcome=_outcome(siege, by),
        distance=siege.threat.distance(X, siege.table.matrix),
        l2_norm=_l2(siege, X),
        attack=by.astype(str),
        n_queries=siege.n_queries.copy(),
    )


def critical_perturbations(
    estimator,
    X,
    y,
    *,
    method="bisect",
    attack="worst_case",
    eps=None,
    max_eps=None,
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=1024,
    device="auto",
    random_state=None,
    verbose=0,
):
    """Search, for every row that is right when clean, the smallest perturbation that changes the answer.

    Parameters
    ----------
    estimator, X, y, attack : see adversarial_examples
        What is attacked, and how.
    method : {"bisect", "grid"}, default="bisect"
        ``"bisect"`` closes in on each row's radius from both sides, to one percent, or to five where
        the estimator has no gradient. ``"grid"`` is the
        protocol of the paper: attack at every radius of a rising grid, and keep the first that succeeds.
    eps : array-like of shape (n_eps,), default=None
        The grid, for ``method="grid"``; None is the paper's 400 radii, from 1e-6 to 10**-1.5 on a
        logarithmic scale, or to 8 for noise.
    max_eps : float, default=None
        Largest radius to look at, for ``method="bisect"``. None is the distance across the data.
    norm, scale, reference_X, bounds, constraints : see AdversarialScorer
        The threat model.
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
        As `adversarial_examples`.

    See Also
    --------
    robustness_curve : Accuracy at many radii.

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
    >>> from sklearn_brm import critical_perturbations
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, y = scale(X)[:50], y[:50]
    >>> model = LogisticRegression().fit(X, y)
    >>> found = critical_perturbations(model, X, y, norm=2, random_state=0)
    >>> exact = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
    >>> right = model.predict(X) == y
    >>> bool(np.all(np.abs(found.radius[right] / exact[right] - 1) < 0.01))
    True
    """
    owner = "critical_perturbations"
    check_choice(owner, "method", method, ("bisect", "grid"))
    check_number(owner, "max_eps", max_eps, "(0, inf)", also=(None,))
    siege = lay_siege(
        owner,
        estimator,
        X,
        y,
        attack=attack,
        norm=norm,
        scale=scale,
        reference_X=reference_X,
        bounds=bounds,
        constraints=constraints,
        n_steps=n_steps,
        n_restarts=n_restarts,
        max_queries=max_queries,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
        verbose=verbose,
    )
    if method == "grid":
        grid = paper_grid(attack) if eps is None else _check_grid(owner, eps)
        radii, _ = climb_grid(siege, grid)
        max_eps = grid[-1]
    else:
        max_eps = siege.threat.reach if max_eps is None else max_eps
        radii = bisect(siege, max_eps=max_eps)
    found = critical_from(siege, radii)
    warn_about(siege, eps=max_eps, n_standing=int(np.isinf(found.radius).sum()))
    return found


def critical_from(siege, radii):
    """Return what a search for radii found as `CriticalPerturbations`."""
    l2_norm = np.where(np.isinf(radii.radius), np.inf, _l2(siege, radii.X))
    return CriticalPerturbations(
        radius=radii.radius,
        l2_norm=l2_norm,
        X=siege.table.restore(radii.X, np.arange(len(siege.table))),
        outcome=_outcome(siege, radii.by),
        attack=radii.by.astype(str),
        n_queries=siege.n_queries.copy(),
    )


def robustness_curve(
    estimator,
    X,
    y,
    *,
    eps=None,
    method="bisect",
    attack="worst_case",
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=1024,
    device="auto",
    random_state=None,
    sample_weight=None,
    verbose=0,
):
    """Accuracy under attack at many radii, which never rises.

    Parameters
    ----------
    estimator, X, y, attack : see adversarial_examples
        What is attacked, and how.
    eps : array-like of shape (n_eps,), default=None
        Radii of the curve, in units of `scale`. None is, for ``method="bisect"``, 20 radii on a
        logarithmic scale over the three decades below the distance across the data; for
        ``method="grid"``, the paper's 400.
    method : {"bisect", "grid"}, default="bisect"
        ``"bisect"`` looks for the two neighbouring radii between which each row breaks. ``"grid"`` attacks
        every row at every radius, as the paper does.
    norm, scale, reference_X, bounds, constraints : see AdversarialScorer
        The threat model.
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
    nothing at the larger; with ``method="grid"`` that is warned about before the running minimum is taken.

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
    if eps is not None:
        eps = _check_grid(owner, eps)
    siege = lay_siege(
        owner,
        estimator,
        X,
        y,
        attack=attack,
        norm=norm,
        scale=scale,
        reference_X=reference_X,
        bounds=bounds,
        constraints=constraints,
        n_steps=n_steps,
        n_restarts=n_restarts,
        max_queries=max_queries,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
        verbose=verbose,
    )
    weight = check_weight(sample_weight, siege.table)
    if method == "grid":
        eps = paper_grid(attack) if eps is None else eps
        radii, n_standing = climb_grid(siege, eps, every_row=True)
        siege.findings.n_weaker_at_larger_eps = int(np.diff(n_standing).clip(min=0).max(initial=0))
    else:
        eps = np.geomspace(1e-3, 1, 20) * siege.threat.reach if eps is None else eps
        radii = bisect(siege, grid=eps, max_eps=eps[-1])
    curve = curve_from(siege, radii, eps, weight)
    warn_about(siege, eps=eps[-1], n_standing=int(np.isinf(curve.radius).sum()))
    return curve


def curve_from(siege, radii, eps, weight):
    """Return the `RobustnessCurve` that radii per row mean."""
    place = np.searchsorted(eps, radii.radius)
    radius = np.append(eps, np.inf)[place] * (radii.radius > 0)
    standing = (radii.radius > 0)[:, None] & (radius[:, None] > eps[None])
    clean = float(np.average(siege.victim.right, weights=weight))
    accuracy = np.average(standing, axis=0, weights=weight)
    return RobustnessCurve(
        eps=eps,
        accuracy=accuracy,
        relative_accuracy=accuracy / clean if clean else np.full(len(eps), np.nan),
        clean_accuracy=clean,
        radius=radius,
        l2_norm=np.where(np.isinf(radius), np.inf, _l2(siege, radii.X)),
    )


def lay_siege(owner, estimator, X, y, *, norm, scale, reference_X, bounds, constraints, **effort):
    """Check every parameter and return the `Siege` that answers all questions about these rows."""
    check_attack(owner, effort["attack"])
    for name in ("n_steps", "n_restarts", "max_queries", "batch_size"):
        check_number(owner, name, effort[name], "[1, inf)", kind=numbers.Integral)
    table = Table(owner, X)
    threat = resolve_threat(
        owner,
        table,
        norm=norm,
        scale=scale,
        reference_X=reference_X,
        bounds=bounds,
        constraints=constraints,
    )
    return Siege(owner, estimator, table, y, threat, **effort)


def check_attack(owner, attack):
    """Check the parameter `attack`: a name, a callable, or several of them."""
    wanted = [attack] if isinstance(attack, str) or callable(attack) else attack
    rule = f"a callable, one of {', '.join(map(repr, ATTACKS))}, or a list of such"
    if not isinstance(wanted, (list, tuple)) or len(wanted) == 0:
        raise parameter_error(owner, "attack", rule, attack)
    for item in wanted:
        if not callable(item) and not (isinstance(item, str) and item in ATTACKS):
            raise parameter_error(owner, "attack", rule, item)


def check_weight(sample_weight, table):
    """Return weights of the rows as an array, or None."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=float)
    if weight.shape != (len(table),) or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"sample_weight must be {len(table)} finite numbers, none negative. "
            f"Got an array of shape {weight.shape}."
        )
    if weight.sum() == 0:
        raise ValueError("sample_weight must not be all zero.")
    return weight


def paper_grid(attack):
    """Return the 400 radii of the paper: from 1e-6 to 10**-1.5, or to 8 for noise."""
    top = 8.0 if attack in ("random", "gaussian") else 10**-1.5
    return np.geomspace(1e-6, top, 400)


def _check_grid(owner, eps):
    rule = "a rising sequence of numbers in (0, inf)"
    try:
        grid = np.asarray(eps, dtype=float)
    except (TypeError, ValueError):
        raise parameter_error(owner, "eps", rule, eps, TypeError) from None
    if (
        grid.ndim != 1
        or len(grid) == 0
        or not np.isfinite(grid).all()
        or grid[0] <= 0
        or (np.diff(grid) <= 0).any()
    ):
        raise parameter_error(owner, "eps", rule, eps, ValueError)
    return grid


def _outcome(siege, by):
    return np.where(siege.victim.right, np.where(by == "", "standing", "broken"), "wrong_when_clean")


def _l2(siege, X):
    return np.linalg.norm(X.astype(float) - siege.table.matrix, axis=1)
