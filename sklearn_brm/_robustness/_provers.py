"""What proves that rows stand: bounds of layers and of trees, and searches where bounds leave a row open."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from torch import nn

from .._bridge import NotConvertibleError, to_torch, tree_ensemble
from ..functional import leaves
from ..functional.attacks import Ball, rounding_of_lead, rounding_share, slope_of_margin
from ..functional.bounds import margin_bounds
from ..functional.layers import (
    Affine,
    Columnwise,
    Concat,
    Linear,
    LogSoftmax,
    Monotone,
    UnboundedError,
    layers_of,
    sequence,
)
from ..functional.mixed_integer import ReluNetwork, as_affine, least_margin
from ..functional.neighbours import vote_radius
from ._evaluation import Evaluation, make_evaluation
from ._threat_model import ThreatModel

# A row is certified a little beyond eps, by more than the rounding that an attack is allowed.
_BEYOND = 1e-9
# Rows whose bounds are computed at a time.
_ROWS = 128
# A row whose categories may make more rows of it is not certified.
_MOST_BASES = 4096
# How often tangents are moved where bounds leave a row open; more steps gained nothing.
_N_STEPS = 5
# How many tangents are moved at a time.
_MOST_TANGENTS = 2**22
# Effort of the attack that finds rows for which no proof need be sought.
_EFFORT: dict[str, Any] = {"n_steps": 50, "n_restarts": 1, "max_queries": 200}
# By how much the solver of programmes may miss its constraints and its answer, and more.
_SOLVER_TOLERANCE = 1e-5
# Rows of its own class that a row is compared with.
_NEAREST = 64
# Of the largest radius asked about: no smaller one is looked for.
_SMALLEST_SHARE = 1e-12


# Of (base, rows, eps) the least margins, and what rounding may take of them.
Bounds: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class NotCertifiableError(ValueError):
    """An estimator, or a step inside it, of which nothing can be proven."""


def make_prover(
    owner: object,
    estimator: Any,
    X: Any,
    y: Any,
    *,
    threat: ThreatModel | None,
    batch_size: int,
    random_state: Any = None,
) -> "Prover":
    """Return what proves rows of an estimator, or raise NotCertifiableError with the reason."""
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
    if tree_ensemble(estimator) is not None or _neighbours_of(estimator) is not None:
        return prover_of(make(attack="black_box"))
    with _telling_what_is_in_the_way():
        return LayerProver(make(attack="apgd_margin"))


def prover_of(evaluation: Evaluation) -> "Prover":
    """Return what proves the rows of an evaluation, or raise NotCertifiableError with the reason."""
    if evaluation.attacked.trees is not None:
        return TreeProver(evaluation)
    return (LayerProver if _neighbours_of(evaluation.attacked.estimator) is None else VoteProver)(evaluation)


def proven_to_stand(evaluation: Evaluation, eps: float) -> np.ndarray:
    """Return which rows bounds alone prove to stand at `eps`, none where nothing can be proven.

    On a GPU attacks are done before bounds, which take the processor, are.
    """
    if not (evaluation.seeks_worst and evaluation.device.type == "cpu"):
        return np.zeros(len(evaluation.table), dtype=bool)
    try:
        return prover_of(evaluation).certified([eps])[:, 0]
    except NotCertifiableError:
        return np.zeros(len(evaluation.table), dtype=bool)


@contextmanager
def _telling_what_is_in_the_way() -> Iterator[None]:
    try:
        yield
    except (NotConvertibleError, UnboundedError) as error:
        raise NotCertifiableError(f"Nothing can be proven of this estimator: {error}") from error


@dataclass
class _Answers:
    """What is known of every row so far: the fields of `Certificates`, and what rounding may take."""

    certified: np.ndarray
    margin: np.ndarray
    complete: np.ndarray
    method: np.ndarray
    slack: np.ndarray

    @classmethod
    def before(cls, right: np.ndarray) -> "_Answers":
        """Return what is known before any proof: which rows are wrong when clean."""
        n = len(right)
        method = np.where(right, "bounds", "clean").astype(object)
        return cls(np.zeros(n, dtype=bool), np.full(n, np.nan), ~right, method, np.zeros(n))

    def take_in(self, rows: np.ndarray, lead: Any, slack: np.ndarray | None = None) -> None:
        """Note bounds of some rows; those above what rounding may take of them are certified."""
        if slack is not None:
            self.slack[rows] = slack
        self.margin[rows] = np.fmax(self.margin[rows], lead)
        self.certified[rows] |= lead > self.slack[rows]
        self.complete[rows] |= self.certified[rows]

    def decide(self, rows: Any, method: str) -> None:
        """Note that the answer of some rows is known now."""
        self.complete[rows], self.method[rows] = True, method


class Prover:
    """Bounds of the margins of an estimator, row by row, and what they prove.

    A subclass has ``_bounds(base, rows, eps)``, which returns the least margins and what rounding may take of
    them, ``_attack(rows, eps)``, which tells the rows that are broken without ado, and ``_search(row, eps,
    slack, time_limit)``, which returns a bound and whether the answer is known. Where it has
    ``_closer_bounds``, which take longer, these are asked about what `_bounds` leaves open, `rows_at_a_time`.

    Parameters
    ----------
    evaluation : Evaluation
    """

    # Whether bounds are reached, so that a row which they leave open is broken.
    exact: bool = False
    rows_at_a_time: int
    _closer_bounds: Bounds | None = None

    def __init__(self, evaluation: Evaluation) -> None:
        self.attacked, self.threat, self.evaluation = evaluation.attacked, evaluation.threat, evaluation
        self.rows = np.flatnonzero(self.attacked.right)

    def _bounds(self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def _attack(self, rows: np.ndarray, eps: float) -> np.ndarray:
        raise NotImplementedError

    def _search(self, row: int, eps: float, slack: float, time_limit: float) -> tuple[float, bool]:
        raise NotImplementedError

    def decide(self, eps: float, time_limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what `Certificates` holds, at one radius."""
        answers = _Answers.before(self.attacked.right)
        answers.take_in(self.rows, *self._margins(self.rows, eps))
        if self.exact:
            # Within rounding of the boundary a row is neither; what was not looked at has no bound.
            rows = self.rows[~answers.certified[self.rows]]
            inside, rounding = self._margins(rows, eps * (1 - 2 * _BEYOND))
            answers.complete[rows] = (inside < -rounding) & np.isfinite(inside)
        left = np.flatnonzero(~answers.complete)
        if len(left) and time_limit > 0:
            broken = self._attack(left, eps)
            answers.decide(left[broken], "attack")
            self._look_closer(
                answers, left[~broken], eps, time.monotonic() + len(answers.complete) * time_limit
            )
        return answers.certified, answers.margin, answers.complete, answers.method.astype(str)

    def _look_closer(self, answers: _Answers, left: np.ndarray, eps: float, ends: float) -> None:
        """Take in what closer bounds of some rows find, and then a search, until the clock is at `ends`."""
        if self._closer_bounds is not None:
            for rows in np.split(left, range(self.rows_at_a_time, len(left), self.rows_at_a_time)):
                if time.monotonic() < ends:
                    answers.take_in(rows, *self._margins(rows, eps, self._closer_bounds))
        # Of what a row becomes by changes of categories nothing is searched.
        left = left[~answers.complete[left]] if not len(self.evaluation.choices) else left[:0]
        for i, row in enumerate(left):
            # What earlier rows left over is shared by those to come.
            share = (ends - time.monotonic()) / (len(left) - i)
            if share <= 0:
                return
            bound, decided = self._search(row, eps, answers.slack[row], share)
            answers.take_in(np.array([row]), bound if decided else min(bound, answers.slack[row]))
            if decided:
                answers.decide(row, "branch_and_bound")

    def certified(self, eps: Any) -> np.ndarray:
        """Return which rows bounds alone certify at each of the rising radii `eps`, (n_samples, n_eps)."""
        certified, rows = np.zeros((len(self.attacked.y), len(eps)), dtype=bool), self.rows
        for i, radius in enumerate(eps):
            lead, slack = self._margins(rows, radius)
            rows = rows[lead > slack]
            certified[rows, i] = True
        return certified

    def radii(self, largest: float, tol: float) -> np.ndarray:
        """Return the largest radius that is proven, row by row."""
        low, high = np.zeros(len(self.rows)), np.full(len(self.rows), np.inf)
        # A largest radius near the smallest number has no 64th.
        eps = np.full(len(self.rows), largest / 64 or largest)
        open_ = np.arange(len(self.rows))
        while len(open_):
            lead, slack = self._margins(self.rows[open_], eps[open_])
            proven = lead > slack
            low[open_[proven]], high[open_[~proven]] = eps[open_[proven]], eps[open_[~proven]]
            between = np.where(low > 0, (low + high) / 2, high / 16)
            eps = np.where(np.isinf(high), np.minimum(2 * eps, largest), between)
            done = (low >= largest) | (high - low <= tol * low) | (high <= _SMALLEST_SHARE * largest)
            # Nor is there a number between neighbours, however small `tol` is.
            done |= (eps <= low) | (eps >= high)
            open_ = open_[~done[open_]]
        radii = np.zeros(len(self.attacked.y))
        radii[self.rows] = low
        return radii

    def _margins(
        self, rows: np.ndarray, eps: float | np.ndarray, bounds: Bounds | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the least margin of each row within its `eps`, and what rounding may take of it."""
        lead, slack, eps = np.full(len(rows), np.inf), np.zeros(len(rows)), np.broadcast_to(eps, len(rows))
        base, index, too_many = self._bases(rows)
        bounds, size = (self._bounds, _ROWS) if bounds is None else (bounds, self.rows_at_a_time)
        for start in range(0, len(index), size):
            part = slice(start, start + size)
            bound, rounding = bounds(base[part], rows[index[part]], eps[index[part]])
            np.minimum.at(lead, index[part], bound)
            np.maximum.at(slack, index[part], rounding)
        lead[too_many] = -np.inf
        return lead, slack

    def _bases(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all that the rows may become by changes of categories alone, and which are too much."""
        X, choices = self.evaluation.table.matrix[rows], self.evaluation.choices
        if not len(choices):
            return X, np.arange(len(rows)), np.zeros(len(rows), dtype=bool)
        return choices.all_bases(X, _MOST_BASES)

    def _clean(self, row: int, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return one row in the form that many are asked about in."""
        return self.evaluation.table.matrix[[row]], np.array([row]), np.array([eps])

    def _ball(self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray) -> Ball:
        return self.threat.ball(base, eps * (1 + _BEYOND), rows, device="cpu", dtype=torch.float64)

    def _breaks(self, x: np.ndarray, row: int, eps: float) -> bool:
        """Whether the estimator itself answers wrongly at a point, or near it inside the ball."""
        base, rows = self.evaluation.table.matrix[[row]], np.array([row])
        X, good = self.threat.settle(x[None], base, eps, rows)
        return bool(good[0]) and bool(self.attacked.broken(X, rows)[0])


class LayerProver(Prover):
    """Linear bounds of an estimator that has become a torch module.

    Raises
    ------
    NotCertifiableError
        If the estimator does not become a module, or that computes something else.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        n_wrong, module = 0, evaluation.model
        # What the attacks climb has been verified, but may be in single precision or elsewhere.
        if module is None or (evaluation.dtype, evaluation.device.type) != (torch.float64, "cpu"):
            with _telling_what_is_in_the_way():
                module, n_wrong = self.attacked.differentiable(
                    device=torch.device("cpu"), dtype=torch.float64
                )
        if n_wrong:
            raise NotCertifiableError(
                "Nothing can be proven of this estimator: what it becomes in torch answers otherwise for "
                f"{n_wrong} of {len(evaluation.table)} rows."
            )
        self.module = module
        self.network = ReluNetwork.of(module, evaluation.table.n_features)
        layers = [layer for layer in layers_of(module) if not isinstance(layer, LogSoftmax)]
        # For each row, tangents are moved for each unit of a layer and each unit before it.
        behind = [layer.weight.numel() for layer in layers[1:] if isinstance(layer, Affine)]
        self.rows_at_a_time = max(1, min(_ROWS, _MOST_TANGENTS // max(behind, default=1)))
        self.exact = all(map(_is_linear, layers))
        if self.threat.norm == np.inf and hasattr(layers[-1], "exact_in_a_box"):
            self.exact |= all(isinstance(layer, Columnwise | Monotone) for layer in layers[:-1])
        rules = self.threat.rules
        self.exact &= not (rules.discrete or rules.relations or rules.project is not None)

    def _bounds(
        self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray, n_steps: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        ball = self._ball(base, rows, eps)
        y = torch.as_tensor(self.attacked.target[rows])
        with _telling_what_is_in_the_way():
            bounds = margin_bounds(self.module, ball, y, n_steps).amin(dim=1)
        with torch.no_grad():
            scores = self.module(ball.centre)
        slope = slope_of_margin(self.module, ball.centre, y)
        return bounds.numpy(), rounding_of_lead(ball.centre, slope, scores, ball.roundoff).numpy()

    def _closer_bounds(
        self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._bounds(base, rows, eps, _N_STEPS)

    def _attack(self, rows: np.ndarray, eps: float) -> np.ndarray:
        return self.evaluation.run(rows, np.full(len(rows), eps))[1]

    def _search(self, row: int, eps: float, slack: float, time_limit: float) -> tuple[float, bool]:
        """Return a lower bound of the margin of one row, and whether the answer is known now."""
        if self.network is None or self.threat.norm != np.inf:
            return -np.inf, False
        ends, own = time.monotonic() + time_limit, self.attacked.target[row]
        low, high = (edge[0].numpy() for edge in self._ball(*self._clean(row, eps)).extent())
        worst, needed = np.inf, slack + _SOLVER_TOLERANCE
        intervals = self.network.intervals(low, high, _N_STEPS)
        for other in np.argsort(-self._scores(row)):
            if other == own:
                continue
            direction = np.zeros(len(self.network.biases[-1]))
            direction[own], direction[other] = 1, -1
            left = max(ends - time.monotonic(), 1e-3)
            bound, x = least_margin(
                self.network, direction, low, high, intervals=intervals, below=needed, time_limit=left
            )
            worst = min(worst, bound)
            if bound < needed:
                broken = x is not None and self._breaks(x, row, eps)
                return worst, broken
        return worst, True

    def _scores(self, row: int) -> np.ndarray:
        rows = torch.as_tensor(self.evaluation.table.matrix[[row]], dtype=torch.float64)
        with torch.no_grad():
            return self.module(rows)[0].numpy()


def _is_linear(layer: nn.Module) -> bool:
    """Whether a layer is a linear function of the numbers; codes do not move inside a ball."""
    if isinstance(layer, Concat):
        return all(map(_is_linear, [one for part in layer.parts for one in layers_of(part)]))
    return isinstance(layer, Linear) or hasattr(layer, "constant_in_a_box")


class TreeProver(Prover):
    """The worst leaves of a sum of trees, and the search over leaves that meet."""

    def _verdicts(
        self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray, time_limit: float
    ) -> leaves.Verdicts:
        ball = self._ball(base, rows, eps)
        low, high = (edge.numpy() for edge in ball.extent())
        region = leaves.Region(
            low,
            high,
            ball.centre.numpy(),
            ball.eps.numpy(),
            self.threat.norm,
            self.threat.unit,
            whole=self.evaluation.context.whole,
        )
        trees = cast(leaves.TreeEnsemble, self.attacked.trees)
        return leaves.search(trees, region, self.attacked.target[rows], time_limit=time_limit)

    def _bounds(self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._verdicts(base, rows, eps, time_limit=0)
        # A tie is not lost where it falls to the row's class, nor won where it does not.
        margin, tiny = found.margin_lower, np.finfo(float).tiny
        margin = np.where(found.certified, margin.clip(min=tiny), margin.clip(max=0))
        return margin, np.zeros(len(rows))

    def _attack(self, rows: np.ndarray, eps: float) -> np.ndarray:
        return np.zeros(len(rows), dtype=bool)

    def _search(self, row: int, eps: float, slack: float, time_limit: float) -> tuple[float, bool]:
        base, rows, radius = self._clean(row, eps)
        found = self._verdicts(base, rows, radius, time_limit)
        margin = float(found.margin_lower[0])
        if found.certified[0]:
            return max(margin, np.finfo(float).tiny), True
        if not found.broken[0]:
            return margin, False
        blur = 2 * self.evaluation.context.blur
        return margin, self._breaks(leaves.breaking_point(found, base.astype(float), blur)[0], row, eps)


class VoteProver(Prover):
    """Half-spaces between the neighbours of a row, behind linear steps.

    Raises
    ------
    NotCertifiableError
        If the steps in front are not linear, or the neighbours are counted in another way.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        estimator, model = self.attacked.estimator, _neighbours_of(self.attacked.estimator)
        metric = model.effective_metric_
        if model.weights != "uniform" or metric != "euclidean" or sparse.issparse(model._fit_X):
            raise NotCertifiableError(
                "Nothing can be proven of this estimator: of neighbours only those of equal weight in "
                f"Euclidean distance are known. Got weights={model.weights!r} and metric={metric!r}."
            )
        with _telling_what_is_in_the_way():
            steps = to_torch(estimator[:-1]) if isinstance(estimator, Pipeline) else sequence()
        layers = list(layers_of(steps))
        if not all(isinstance(layer, Linear) for layer in layers):
            raise NotCertifiableError(
                "Nothing can be proven of this estimator: the steps before the neighbours are not all linear."
            )
        self.matrix, self.offset = as_affine(layers, evaluation.table.n_features)
        self.n_neighbors, self.points, self.classes = model.n_neighbors, model._fit_X, model._y
        unit = self.threat.unit.copy()
        unit[self.threat.fixed] = 0
        self.reach = self.points @ (self.matrix * unit)
        self.metric = {np.inf: "cityblock", 2.0: "euclidean", 1.0: "chebyshev"}[self.threat.norm]

    def _bounds(self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = base.astype(float) @ self.matrix.T + self.offset
        squares = cdist(x, self.points, "sqeuclidean")
        sizes = np.square(x).sum(axis=1) + np.square(self.points).sum(axis=1).max()
        rounding = rounding_share(x.shape[1], self.threat.roundoff) * sizes
        answers = zip(squares, rounding, self.attacked.target[rows])
        radii = np.array([self._radius(to_all, error, label) for to_all, error, label in answers])
        return radii - eps * (1 + _BEYOND), np.zeros(len(rows))

    def _radius(self, squares: np.ndarray, error: float, label: int) -> float:
        """Return the radius of one row; own rows that are far away only make it a little larger."""
        own, other = (np.flatnonzero(mask) for mask in (self.classes == label, self.classes != label))
        own = own[np.argsort(squares[own], kind="stable")[: max(_NEAREST, self.n_neighbors)]]
        # By how much the difference of the squared distances can change, per unit of the threat.
        lengths = 2 * cdist(self.reach[own], self.reach[other], self.metric)
        return vote_radius(squares[own], squares[other] - error, lengths, self.n_neighbors)

    def _attack(self, rows: np.ndarray, eps: float) -> np.ndarray:
        return self.evaluation.run(rows, np.full(len(rows), eps))[1]

    def _search(self, row: int, eps: float, slack: float, time_limit: float) -> tuple[float, bool]:
        return -np.inf, False


def _neighbours_of(estimator: Any) -> Any:
    """Return the nearest neighbours that an estimator, or the last step of a Pipeline, is, else None."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return last if type(last) is KNeighborsClassifier else None
