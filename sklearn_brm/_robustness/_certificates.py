"""Bounds from below: which rows no attack can break."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._base import check_number
from ._intervals import CONFIDENCE, share_interval
from ._provers import make_prover

if TYPE_CHECKING:
    from ._threat_model import ThreatModel


@dataclass(frozen=True)
class Certificates:
    """What `certify` proved, one entry per row of `X`.

    Attributes
    ----------
    certified : ndarray of bool of shape (n_samples,)
        Rows that are right, and that no perturbation within eps makes wrong.
    margin_lower : ndarray of shape (n_samples,)
        No perturbation takes the lead of the true class over any other below it: the difference of scores
        (decision values, or logarithms of probabilities; for trees of their sums). Rows with a positive one
        are certified, unless rounding could make it vanish. NaN where the row is wrong when clean.
    complete : ndarray of bool of shape (n_samples,)
        Whether the answer is exact: a row that is complete and not certified is broken.
    method : ndarray of str of shape (n_samples,)
        What decided: ``"clean"`` for rows that are wrong without any attack, ``"bounds"``, plain or closer,
        ``"branch_and_bound"``, or ``"attack"`` for rows that were broken.
    """

    certified: np.ndarray
    margin_lower: np.ndarray
    complete: np.ndarray
    method: np.ndarray

    @property
    def certified_accuracy(self) -> float:
        """Share of rows that are certified: the robust accuracy is no lower."""
        return float(np.mean(self.certified))

    @property
    def upper_accuracy(self) -> float:
        """Share of rows that are not known to be broken: the robust accuracy is no higher."""
        return float(np.mean(self.certified | ~self.complete))

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return an interval for the certified accuracy on the population that the rows are drawn from.

        Parameters
        ----------
        confidence : float, default=0.95
            Coverage, at least.

        Returns
        -------
        low, high : float
            Clopper and Pearson's interval.
        """
        low, high = share_interval(self.certified_accuracy, np.ones(len(self.certified)), confidence)
        return float(low), float(high)


def certify(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    eps: float,
    threat: ThreatModel | None = None,
    time_limit: float = 1.0,
    batch_size: int = 1024,
    random_state: int | np.random.RandomState | None = None,
) -> Certificates:
    """Prove, row by row, that no perturbation within `eps` changes the answer.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier or Pipeline.
    X : array-like or DataFrame of shape (n_samples, n_features)
        The rows, in the form that the estimator takes.
    y : array-like of shape (n_samples,)
        Their true labels.
    eps : float
        Radius, in units of the threat's `scale`.
    threat : ThreatModel or None, default=None
        What an attacker may do. Whole numbers, one-hot groups, relations and `project` only take from what
        it may do, and are left out: a proof holds with them too.
    time_limit : float, default=1.0
        Seconds per row of X, on average, for a search where bounds leave the answer open; 0 leaves it out.
    batch_size : int, default=1024
        Rows per call of the estimator.
    random_state : int, RandomState instance or None, default=None
        Seed of the attack that spares the search for rows which it breaks.

    Returns
    -------
    certificates : Certificates

    Raises
    ------
    NotCertifiableError
        If nothing can be proven of the estimator; the message names the step that stands in the way.

    See Also
    --------
    certified_radii : The largest radius that is proven, row by row.
    adversarial_examples : The other side: attacks.

    Notes
    -----
    Exact are linear classifiers, in all norms and with bounds, and Gaussian naive Bayes in the maximum norm.
    Networks, kernel machines and transformers in front of them have linear bounds [1]_. Where these leave a
    row open and attacks do not break it, the lines below rectifiers are moved [5]_, and networks of plain
    rectifiers are decided by mixed integer programmes [2]_ in the maximum norm, if time is enough. Trees are
    exact, and sums of trees are bounded by their worst leaves [3]_ and decided by a search over leaves that
    meet [4]_. Proofs leave room for the rounding of the estimator, as attacks do.

    References
    ----------
    .. [1] Zhang, Weng, Chen, Hsieh, Daniel, "Efficient Neural Network Robustness Certification with General
       Activation Functions", NeurIPS 2018. arXiv:1811.00866
    .. [2] Tjeng, Xiao, Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming",
       ICLR 2019. arXiv:1711.07356
    .. [3] Andriushchenko, Hein, "Provably Robust Boosted Decision Stumps and Trees against Adversarial
       Attacks", NeurIPS 2019. arXiv:1906.03526
    .. [4] Chen, Zhang, Si, Li, Boning, Hsieh, "Robustness Verification of Tree-based Models", NeurIPS 2019.
       arXiv:1906.03849
    .. [5] Xu, Zhang, Wang, Wang, Jana, Lin, Hsieh, "Fast and Complete: Enabling Complete Verification with
       Rapid and Massively Parallel Incomplete Verifiers", ICLR 2021. arXiv:2011.13824

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_brm import adversarial_examples, certify
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, y = scale(X)[:100], y[:100]
    >>> model = LogisticRegression().fit(X, y)
    >>> certify(model, X, y, eps=0.2).certified_accuracy
    0.82
    >>> adversarial_examples(model, X, y, eps=0.2, random_state=0).robust_accuracy
    0.82
    """
    owner = "certify"
    eps = float(check_number(owner, "eps", eps, "[0, inf)"))
    check_number(owner, "time_limit", time_limit, "[0, inf)")
    prover = make_prover(
        owner, estimator, X, y, threat=threat, batch_size=batch_size, random_state=random_state
    )
    return Certificates(*prover.decide(eps, float(time_limit)))


def certified_radii(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    threat: ThreatModel | None = None,
    max_eps: float | None = None,
    tol: float = 1e-3,
    batch_size: int = 1024,
) -> NDArray[np.float64]:
    """Return the largest radius, row by row, at which bounds prove that nothing changes the answer.

    Parameters
    ----------
    estimator, X, y, threat, batch_size : see certify
        What is to be proven.
    max_eps : float or None, default=None
        Largest radius to look at. None is the distance across the data.
    tol : float, default=1e-3
        How close to come to the largest radius that is proven, relative to it.

    Returns
    -------
    radii : ndarray of shape (n_samples,)
        In units of the threat's `scale`; 0 where the row is wrong when clean or nothing is proven, be it
        within 1e-12 of the largest radius.

    Raises
    ------
    NotCertifiableError
        As `certify`.

    See Also
    --------
    critical_perturbations : Radii at which an attack succeeds, which are larger.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_brm import ThreatModel, certified_radii
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = X[:100], y[:100]
    >>> model = LogisticRegression().fit(X, y)
    >>> radii = certified_radii(model, X, y, threat=ThreatModel(norm=2))
    >>> exact = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
    >>> bool(np.allclose(radii, exact, rtol=2e-3))
    True
    """
    owner = "certified_radii"
    check_number(owner, "max_eps", max_eps, "(0, inf)", also=(None,))
    check_number(owner, "tol", tol, "(0, 1)")
    prover = make_prover(owner, estimator, X, y, threat=threat, batch_size=batch_size)
    return prover.radii(prover.threat.reach if max_eps is None else float(max_eps), float(tol))
