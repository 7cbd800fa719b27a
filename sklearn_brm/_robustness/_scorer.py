"""A scikit-learn scorer that attacks the estimator it scores."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import resample
from sklearn.utils.metadata_routing import UNUSED

from .._base import (
    DocLinkMixin,
    check_choice,
    check_number,
    seeded_generator,
)
from .._memory import with_smaller_batches
from ._doubts import RobustnessWarning, doubts
from ._evaluation import make_evaluation
from ._intervals import share_interval
from ._provers import NotCertifiableError, prover_of
from ._radius import bisect
from ._results import examples_at
from ._table import Table

if TYPE_CHECKING:
    from ._attacks import Attack
    from ._evaluation import Evaluation
    from ._threat_model import ThreatModel

_METRICS = (
    "robust_accuracy",
    "relative_accuracy",
    "attack_success_rate",
    "median_critical_perturbation",
    "certified_accuracy",
    "all",
)


class AdversarialScorer(DocLinkMixin, BaseEstimator):
    """Score a fitted classifier by what is left of its accuracy under attack.

    An instance is a scorer: give it to `GridSearchCV`, `cross_validate` or `permutation_importance` as
    `scoring`, alone or in a dict. Rows are attacked in the input space of whatever is scored, such as a
    whole Pipeline: with gradients where every step can be turned into a torch function, as a black box
    otherwise.

    Parameters
    ----------
    eps : float, default=0.1
        Radius of the ball in which a row may be moved, in units of the threat's `scale`.
    threat : ThreatModel, default=None
        What an attacker may do to each column. None moves every number by the same `eps`, and changes at most
        one boolean or category, to another value among the rows. As with any nested estimator,
        ``set_params(threat__norm=2)`` changes this very object; `clone`, which searches use, copies it first.
    metric : str, default="robust_accuracy"
        - ``"robust_accuracy"``: share of rows that are right when clean and under attack.
        - ``"relative_accuracy"``: the same as a share of the rows that are right when clean.
        - ``"attack_success_rate"``: 1 minus that; larger is worse.
        - ``"median_critical_perturbation"``: median, over the rows that are right when clean, of the smallest
          radius that breaks them.
        - ``"certified_accuracy"``: share of rows that are right and that bounds prove to stand, see
          `certify`, without its search and without any attack: the robust accuracy is no lower. NaN, with a
          warning, where nothing can be proven of the estimator.
        - ``"all"``: a dict of all these, of ``"accuracy"``, and of ``"robust_accuracy_low"`` and
          ``"robust_accuracy_high"``, the ends of the 95% interval of Clopper and Pearson, for a search with
          several metrics.
    attack : str, callable or list of such, default="worst_case"
        What is tried on each row that is right when clean; a row counts as broken as soon as one succeeds.

        - ``"worst_case"``: ``"apgd"``, ``"apgd_margin"``, ``"apgd_targeted"`` and ``"black_box"``, or only
          the last where the estimator has no gradient.
        - ``"fgsm"``, ``"pgd"``: one and `n_steps` steps along the gradient of cross-entropy.
        - ``"apgd"``, ``"apgd_margin"``, ``"apgd_targeted"``: steps that adapt themselves, on cross-entropy,
          on the lead of the best wrong class, and on the lead of each of the three best wrong classes.
        - ``"minimum_norm"``: looks for the smallest perturbation, and counts it if it is within `eps`.
        - ``"black_box"``: asks for scores, or for answers where there are none.
        - ``"random"``: noise inside the ball. ``"gaussian"``: normal noise of standard deviation `eps`, which
          knows no ball.
        - a callable ``(estimator, X, y) -> X_adversarial``: what it returns is projected and tested again.
    n_steps : int, default=50
        Steps of each gradient attack.
    n_restarts : int, default=1
        Times each attack is tried: the first from the clean row, the others from random points.
    max_queries : int, default=500
        Points around each row that a black box asks the estimator about, at most, but for its first round of
        four, or eight, which it always asks about.
    max_samples : int, default=None
        Attack so many rows only, drawn at random; None is all.
    batch_size : int, default=1024
        Rows attacked together, which bounds the memory.
    device : str or torch.device, default="auto"
        Where gradients are computed.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. A row's random numbers do not depend on the rows attacked beside it.

    See Also
    --------
    adversarial_examples : The adversarial rows themselves.
    critical_perturbations : The smallest radius of each row.
    robustness_curve : Accuracy at many radii.

    Notes
    -----
    Every success is clipped to the bounds, projected, and answered wrongly by the estimator's own `predict`;
    nothing else counts. Rows that are wrong when clean count as wrong and are not attacked.

    A `RobustnessWarning` says so, with the numbers, when many rows have a zero gradient, the black box beats
    the gradients, rows that stood at eps break at a smaller radius (where the metric needs radii), the
    estimator answers differently when asked twice, its torch function computes something else, or rows
    stand at an eps as large as the data. A scorer gives each kind of warning once.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020, arXiv:2003.01690.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_brm import AdversarialScorer, ThreatModel
    >>> X, y = load_iris(return_X_y=True)
    >>> robust = AdversarialScorer(eps=0.2, threat=ThreatModel.from_data(X), random_state=0)
    >>> search = GridSearchCV(
    ...     make_pipeline(StandardScaler(), LogisticRegression()),
    ...     {"logisticregression__C": [0.01, 1.0, 100.0]},
    ...     scoring={"accuracy": "accuracy", "robust": robust},
    ...     refit="robust",
    ... ).fit(X, y)
    >>> search.best_params_
    {'logisticregression__C': 1.0}
    """

    # The estimator that `score` takes first is no metadata to route.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012

    def __init__(
        self,
        eps: float = 0.1,
        *,
        threat: ThreatModel | None = None,
        metric: str = "robust_accuracy",
        attack: str
        | Attack
        | Callable[..., Any]
        | Sequence[str | Attack | Callable[..., Any]] = "worst_case",
        n_steps: int = 50,
        n_restarts: int = 1,
        max_queries: int = 500,
        max_samples: int | float | None = None,
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.eps = eps
        self.threat = threat
        self.metric = metric
        self.attack = attack
        self.n_steps = n_steps
        self.n_restarts = n_restarts
        self.max_queries = max_queries
        self.max_samples = max_samples
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    def __call__(
        self, estimator: BaseEstimator, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float | dict[str, float]:
        """Return `score`: to scikit-learn a scorer is a callable."""
        return self.score(estimator, X, y, sample_weight=sample_weight)

    def score(
        self, estimator: BaseEstimator, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float | dict[str, float]:
        """Attack the estimator and return the metric.

        Parameters
        ----------
        estimator : classifier
            Any fitted classifier with `predict`, such as a whole Pipeline.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Clean rows, of numbers, words, booleans and missing values: whatever the estimator takes.
        y : array-like of shape (n_samples,)
            True labels, of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the metric.

        Returns
        -------
        score : float or dict of str to float
            A dict for ``metric="all"``. Metrics relative to the rows that are right when clean are NaN
            where there is none.
        """
        check_number(self, "eps", self.eps, "[0, inf)")
        check_choice(self, "metric", self.metric, _METRICS)
        check_number(self, "max_samples", self.max_samples, "[1, inf)", kind=numbers.Integral, also=(None,))
        # One generator for both uses: an instance given as random_state must advance.
        random_state = seeded_generator(self, self.random_state)
        X, y, sample_weight = self._subsample(X, y, sample_weight, random_state)
        drawn_so_far = random_state.get_state()

        def attack(batch_size: int) -> tuple[Any, ...]:
            random_state.set_state(drawn_so_far)
            evaluation = self._make_evaluation(estimator, X, y, random_state, batch_size)
            weight = evaluation.table.weights("scoring", sample_weight)
            return evaluation, weight, *self._attack(evaluation)

        evaluation, weight, standing, radius = with_smaller_batches(self, attack, self.batch_size)
        values = _metrics(evaluation.attacked.right, standing, radius, weight)
        if self.metric in ("certified_accuracy", "all"):
            values["certified_accuracy"] = self._certified_accuracy(evaluation, weight)
        if self.metric != "certified_accuracy":
            self._warn(doubts(evaluation, eps=self.eps, standing=standing))
        return values if self.metric == "all" else values[self.metric]

    def _subsample(
        self, X: Any, y: Any, sample_weight: Any, random_state: np.random.RandomState
    ) -> tuple[Any, ...]:
        table = Table(self, X)
        if self.max_samples is None or self.max_samples >= len(table):
            return X, y, sample_weight
        # Lists and nested lists cannot be indexed by rows.
        X = np.asarray(X) if table.frame is None else X
        rows = {"replace": False, "n_samples": self.max_samples, "random_state": random_state}
        if sample_weight is None:
            return *resample(X, y, **rows), None
        return resample(X, y, np.asarray(sample_weight), **rows)

    def _make_evaluation(
        self, estimator: BaseEstimator, X: Any, y: Any, random_state: np.random.RandomState, batch_size: int
    ) -> Evaluation:
        options = self.get_params(deep=False)
        for name in ("eps", "metric", "max_samples"):
            del options[name]
        options.update(random_state=random_state, batch_size=batch_size)
        return make_evaluation(self, estimator, X, y, **options)

    def _certified_accuracy(self, evaluation: Evaluation, weight: np.ndarray | None) -> float:
        """Return the share of rows that bounds certify, NaN where they say nothing about the estimator."""
        try:
            certified = prover_of(evaluation).certified([self.eps])[:, 0]
        except NotCertifiableError as error:
            if self.metric == "certified_accuracy":
                self._warn({"uncertified": f"certified_accuracy is NaN. {error}"})
            return np.nan
        return float(np.average(certified, weights=weight))

    def _attack(self, evaluation: Evaluation) -> tuple[Any, ...]:
        """Return which rows stand at eps, and, where the metric needs it, the smallest radius of each."""
        if self.metric == "certified_accuracy":
            return evaluation.attacked.right, None
        found = examples_at(evaluation, self.eps)
        standing, radius = found.outcome == "standing", None
        if self.metric in ("median_critical_perturbation", "all"):
            radius = bisect(evaluation, max_eps=evaluation.threat.reach).radius
            if not evaluation.blind:
                weaker = int((standing & (radius < self.eps)).sum())
                evaluation.findings.weaker_at_larger_eps = (weaker, evaluation.findings.n_attacked)
            radius = np.where(found.outcome == "broken", np.minimum(radius, found.distance), radius)
            standing &= radius > self.eps
        return standing, radius

    def _warn(self, messages: dict[str, str]) -> None:
        """Warn about every kind of doubt once, so that a grid search is not drowned in them."""
        told = self.__dict__.setdefault("_told", set())
        news = [text for kind, text in messages.items() if kind not in told]
        told.update(messages)
        if news:
            warnings.warn(" ".join(news), RobustnessWarning, stacklevel=3)

    def _accept_sample_weight(self) -> Any:
        return True


def _metrics(
    right: NDArray[np.bool_],
    standing: NDArray[np.bool_],
    radius: np.ndarray | None,
    weight: np.ndarray | None,
) -> dict[str, float]:
    clean, robust = (float(np.average(mask, weights=weight)) for mask in (right, standing))
    low, high = share_interval(robust, np.ones(len(right)) if weight is None else weight)
    relative = robust / clean if clean else np.nan
    values = {
        "accuracy": clean,
        "robust_accuracy": robust,
        "robust_accuracy_low": float(low),
        "robust_accuracy_high": float(high),
        "relative_accuracy": relative,
        "attack_success_rate": 1 - relative,
    }
    if radius is not None:
        values["median_critical_perturbation"] = _median(
            radius[right], None if weight is None else weight[right]
        )
    return values


def _median(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the median of values repeated as often as their weight says; NaN where none has any."""
    weight = np.ones(len(values)) if weight is None else weight
    values, weight = values[weight > 0], weight[weight > 0]
    if len(values) == 0:
        return np.nan
    order = np.argsort(values)
    values, sums = values[order], np.cumsum(weight[order])
    # Where the weights up to a value are half of all, the median is between it and the next.
    half, slack = sums[-1] / 2, 1e-12 * sums[-1]
    lower, upper = values[np.searchsorted(sums, half - slack)], values[np.searchsorted(sums, half + slack)]
    return float(lower if lower == upper else (lower + upper) / 2)
