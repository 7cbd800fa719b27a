"""Bounds from below: which rows no attack can break."""

import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from .._base import check_number
from .._bridge import NotConvertibleError
from ..functional.attacks import rounding_of_lead
from ..functional.bounds import margin_bounds
from ..functional.layers import Columnwise, Linear, LogSoftmax, Monotone, UnboundedError, layers_of
from ..functional.mixed_integer import ReluNetwork, least_margin
from ._checks import make_evaluation
from ._intervals import CONFIDENCE, share_interval

# A row is certified a little beyond eps, by more than the rounding that an attack is allowed.
_BEYOND = 1e-9
# Rows whose bounds are computed at a time.
_ROWS = 128
# A row whose categories may make more rows of it is not certified.
_MOST_BASES = 4096
# Effort of the attack that finds rows for which no proof need be sought.
_EFFORT = {"n_steps": 50, "n_restarts": 1, "max_queries": 200}
# By how much the solver of programmes may miss its constraints and its answer, and more.
_SOLVER_TOLERANCE = 1e-5


class NotCertifiableError(ValueError):
    """An estimator, or a step inside it, of which nothing can be proven."""


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
        What decided: ``"clean"`` for rows that are wrong without any attack, ``"bounds"``,
        ``"branch_and_bound"``, or ``"attack"`` for rows that were broken.
    """

    certified: np.ndarray
    margin_lower: np.ndarray
    complete: np.ndarray
    method: np.ndarray

    @property
    def certified_accuracy(self):
        """Share of rows that are certified: the robust accuracy is no lower."""
        return float(np.mean(self.certified))

    @property
    def upper_accuracy(self):
        """Share of rows that are not known to be broken: the robust accuracy is no higher."""
        return float(np.mean(self.certified | ~self.complete))

    def interval(self, confidence=CONFIDENCE):
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


def certify(estimator, X, y, *, eps, threat=None, time_limit=1.0, batch_size=1024, random_state=None):
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
    Networks, kernel machines and transformers in front of them have linear bounds [1]_, and networks of one
    hidden layer of plain rectifiers are decided by mixed integer programmes [2]_ in the maximum norm. Proofs
    leave room for the rounding of the estimator, as attacks do.

    References
    ----------
    .. [1] Zhang, Weng, Chen, Hsieh, Daniel, "Efficient Neural Network Robustness Certification with General
       Activation Functions", NeurIPS 2018. arXiv:1811.00866
    .. [2] Tjeng, Xiao, Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming",
       ICLR 2019. arXiv:1711.07356

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
    return prover.certificates(eps, float(time_limit))


def certified_radii(estimator, X, y, *, threat=None, max_eps=None, tol=1e-3, batch_size=1024):
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
        In units of the threat's `scale`; 0 where the row is wrong when clean or nothing is proven.

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


def make_prover(owner, estimator, X, y, *, threat, batch_size, random_state=None):
    """Return the `Prover` of an estimator, or raise NotCertifiableError with the reason."""
    make = partial(
        make_evaluation,
        owner,
        estimator,
        X,
        y,
        threat=threat,
        batch_size=batch_size,
        device="cpu",
        random_state=random_state,
        **_EFFORT,
    )
    with _telling_what_is_in_the_way():
        return Prover(make(attack="apgd_margin"))


@contextmanager
def _telling_what_is_in_the_way():
    try:
        yield
    except (NotConvertibleError, UnboundedError) as error:
        raise NotCertifiableError(f"Nothing can be proven of this estimator: {error}") from error


class Prover:
    """Bounds of the margins of an estimator that has become a torch module.

    Parameters
    ----------
    evaluation : Evaluation

    Raises
    ------
    NotCertifiableError
        If the estimator does not become a module, or that computes something else.
    """

    def __init__(self, evaluation):
        self.attacked, self.threat, self.evaluation = evaluation.attacked, evaluation.threat, evaluation
        with _telling_what_is_in_the_way():
            module, n_wrong = self.attacked.differentiable(device=torch.device("cpu"), dtype=torch.float64)
        if n_wrong:
            raise NotCertifiableError(
                "Nothing can be proven of this estimator: what it becomes in torch answers otherwise for "
                f"{n_wrong} of {len(evaluation.table)} rows."
            )
        self.module = module
        self.rows = np.flatnonzero(self.attacked.right)
        self.network = ReluNetwork.of(module, evaluation.table.n_features)
        layers = [layer for layer in layers_of(module) if not isinstance(layer, LogSoftmax)]
        self.exact = all(isinstance(layer, Linear) for layer in layers)
        if self.threat.norm == np.inf and hasattr(layers[-1], "exact_in_a_box"):
            self.exact |= all(isinstance(layer, Columnwise | Monotone) for layer in layers[:-1])
        rules = self.threat.rules
        self.exact &= not (rules.discrete or rules.relations or rules.project is not None)

    def certificates(self, eps, time_limit):
        """Return the `Certificates` at one radius."""
        n = len(self.attacked.y)
        margin, complete = np.full(n, np.nan), ~self.attacked.right
        method = np.full(n, "clean", dtype=object)
        lead, slack = self._margins(self.rows, np.full(len(self.rows), eps))
        proven = lead > slack
        margin[self.rows], method[self.rows] = lead, "bounds"
        certified = np.zeros(n, dtype=bool)
        certified[self.rows] = proven
        complete[self.rows] = proven | self.exact
        left = np.flatnonzero(~complete)
        if len(left) and time_limit > 0:
            _, broken, _ = self.evaluation.run(left, np.full(len(left), eps))
            complete[left[broken]], method[left[broken]] = True, "attack"
            slack, left = dict(zip(self.rows, slack)), left[~broken]
            ends = time.monotonic() + n * time_limit
            for i, row in enumerate(left):
                # What earlier rows left over is shared by those to come.
                share = (ends - time.monotonic()) / (len(left) - i)
                bound, decided = self._search(row, eps, slack[row], share)
                margin[row] = max(margin[row], bound)
                certified[row] = bound >= slack[row]
                complete[row] |= decided
                method[row] = "branch_and_bound" if decided else "bounds"
        return Certificates(certified, margin, complete, method.astype(str))

    def certified(self, eps):
        """Return which rows bounds alone certify at each of the rising radii `eps`, (n_samples, n_eps)."""
        certified, rows = np.zeros((len(self.attacked.y), len(eps)), dtype=bool), self.rows
        for i, radius in enumerate(eps):
            lead, slack = self._margins(rows, np.full(len(rows), radius))
            rows = rows[lead > slack]
            certified[rows, i] = True
        return certified

    def radii(self, largest, tol):
        """Return the largest radius that is proven, row by row."""
        low, high = np.zeros(len(self.rows)), np.full(len(self.rows), np.inf)
        eps = np.full(len(self.rows), largest / 64)
        open_ = np.arange(len(self.rows))
        while len(open_):
            lead, slack = self._margins(self.rows[open_], eps[open_])
            proven = lead > slack
            low[open_[proven]], high[open_[~proven]] = eps[open_[proven]], eps[open_[~proven]]
            eps = np.where(np.isinf(high), np.minimum(2 * eps, largest), (low + high) / 2)
            done = (low >= largest) | (high - low <= tol * low) | (high <= tol * largest * 1e-3)
            open_ = open_[~done[open_]]
        radii = np.zeros(len(self.attacked.y))
        radii[self.rows] = low
        return radii

    def _margins(self, rows, eps):
        """Return the least margin of each row within its `eps`, and what rounding may take of it."""
        lead, slack = np.full(len(rows), np.inf), np.zeros(len(rows))
        base, index, too_many = self._bases(rows)
        for start in range(0, len(index), _ROWS):
            part = slice(start, start + _ROWS)
            bound, rounding = self._bounds(base[part], rows[index[part]], eps[index[part]])
            np.minimum.at(lead, index[part], bound)
            np.maximum.at(slack, index[part], rounding)
        lead[too_many] = -np.inf
        return lead, slack

    def _bases(self, rows):
        """Return all that the rows may become by changes of categories alone, and which are too much."""
        X, choices = self.evaluation.table.matrix[rows], self.evaluation.choices
        if not len(choices):
            return X, np.arange(len(rows)), np.zeros(len(rows), dtype=bool)
        return choices.all_bases(X, _MOST_BASES)

    def _bounds(self, base, rows, eps):
        ball = self._ball(base, rows, eps)
        y = torch.as_tensor(self.attacked.target[rows])
        with _telling_what_is_in_the_way():
            bounds = margin_bounds(self.module, ball, y).amin(dim=1)
        x = ball.centre.clone().requires_grad_()
        with torch.enable_grad():
            scores = self.module(x)
            rest = scores.scatter(1, y[:, None], -torch.inf).amax(dim=1)
            margin = scores.gather(1, y[:, None])[:, 0] - rest
            (slope,) = torch.autograd.grad(margin.sum(), x, allow_unused=True)
        slope = torch.zeros_like(x) if slope is None else slope
        slack = rounding_of_lead(x.detach(), slope, scores.detach(), ball.roundoff)
        return bounds.numpy(), slack.numpy()

    def _ball(self, base, rows, eps):
        return self.threat.ball(base, eps * (1 + _BEYOND), rows, device="cpu", dtype=torch.float64)

    def _search(self, row, eps, slack, time_limit):
        """Return a lower bound of the margin of one row, and whether the answer is known now."""
        if self.network is None or self.threat.norm != np.inf or len(self.evaluation.choices):
            return -np.inf, False
        ends, own = time.monotonic() + time_limit, self.attacked.target[row]
        ball = self._ball(self.evaluation.table.matrix[[row]], np.array([row]), np.array([eps]))
        reach = ball.unit_to_raw(ball.eps[:, None].expand_as(ball.centre))
        low, high = (ball.clip(ball.centre + sign * reach)[0].numpy() for sign in (-1, 1))
        worst, needed = np.inf, slack + _SOLVER_TOLERANCE
        for other in np.argsort(-self._scores(row)):
            if other == own:
                continue
            direction = np.zeros(len(self.network.c))
            direction[own], direction[other] = 1, -1
            left = max(ends - time.monotonic(), 1e-3)
            bound, x = least_margin(self.network, direction, low, high, below=needed, time_limit=left)
            worst = min(worst, bound)
            if bound < needed:
                broken = x is not None and self._breaks(x, row, eps)
                return worst, broken
        return worst, True

    def _scores(self, row):
        rows = torch.as_tensor(self.evaluation.table.matrix[[row]], dtype=torch.float64)
        with torch.no_grad():
            return self.module(rows)[0].numpy()

    def _breaks(self, x, row, eps):
        """Whether the estimator itself answers wrongly at a point, or near it inside the ball."""
        base, rows = self.evaluation.table.matrix[[row]], np.array([row])
        X, good = self.threat.settle(x[None], base, eps, rows)
        return bool(good[0]) and bool(self.attacked.broken(X, rows)[0])
