"""One estimator under attack: runs attacks on the rows still standing, and judges every result."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from .._base import as_tensor, check_number, owner_name, progress, resolve_device, seeded_generator
from .._bridge import NotConvertibleError, split_draw
from ..functional.attacks import Ball, linear_radius
from ._attacked import AttackedEstimator, model_dtypes
from ._attacks import TREE_ATTACK, AttackContext, check_attack, make_plan
from ._table import Table
from ._threat import resolve_threat

if TYPE_CHECKING:
    from ._attacks import Attack
    from ._threat import Threat
    from ._threat_model import ThreatModel

# Rows among which a black box looks for other classes.
_POOL = 500


class Effort(TypedDict, total=False):
    """How much is tried, and where: the parameters that all attacking functions share.

    See `AdversarialScorer` for what each means, and `EFFORT` for what it is by default.
    """

    attack: Any
    n_steps: int
    n_restarts: int
    max_queries: int
    batch_size: int
    device: Any
    random_state: Any
    verbose: int | bool


EFFORT: MappingProxyType[str, Any] = MappingProxyType(
    {
        "attack": "worst_case",
        "n_steps": 50,
        "n_restarts": 1,
        "max_queries": 500,
        "batch_size": 1024,
        "device": "auto",
        "random_state": None,
        "verbose": 0,
    }
)


def spell_out_effort(function: Any) -> Any:
    """Show in the signature of a function what its ``**effort`` stands for, with the defaults."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=EFFORT[name]) for name in EFFORT
    ]
    function.__signature__ = signature.replace(parameters=[*own, *shared])
    return function


def make_evaluation(
    owner: object,
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    *,
    threat: ThreatModel | None = None,
    **effort: Unpack[Effort],
) -> Evaluation:
    """Check every parameter and return the `Evaluation` that answers all questions about these rows."""
    for name in set(effort) - set(EFFORT):
        raise TypeError(f"{owner_name(owner)}() got an unexpected keyword argument {name!r}")
    settings: dict[str, Any] = {**EFFORT, **effort}
    check_attack(owner, settings["attack"])
    for name in ("n_steps", "n_restarts", "max_queries", "batch_size"):
        settings[name] = int(check_number(owner, name, settings[name], "[1, inf)", kind=numbers.Integral))
    verbose = settings["verbose"]
    check_number(owner, "verbose", verbose, "[0, inf)", kind=numbers.Integral, also=(True, False))
    table = Table(owner, X)
    return Evaluation(owner, estimator, table, y, resolve_threat(owner, threat, table), **settings)


@dataclass
class Findings:
    """What should be known about the numbers before they are believed; counts of rows.

    `n_changed_minds` is how many of how many rows were answered differently when asked twice,
    `weaker_at_larger_eps` how many of how many stood at a radius larger than one that broke them;
    `smallest_eps` is the first radius of a curve, and whether it broke all rows.
    """

    n_attacked: int
    n_changed_minds: tuple[Any, ...]
    n_mismatched: int = 0
    weaker_at_larger_eps: tuple[Any, ...] = (0, 0)
    smallest_eps: tuple[Any, ...] = (0.0, False)


class Evaluation:
    """Everything the attacks on one estimator share.

    Parameters
    ----------
    owner : object or str
        Who attacks, for messages.
    estimator : classifier
    table : Table
    y : array-like
    threat : Threat
    attack : str or callable or sequence of such
    n_steps, n_restarts, max_queries, batch_size, device, random_state, verbose
        As in `AdversarialScorer`.
    """

    def __init__(
        self,
        owner: object,
        estimator: BaseEstimator,
        table: Table,
        y: Any,
        threat: Threat,
        *,
        attack: Attack | str,
        n_steps: int,
        n_restarts: int,
        max_queries: int,
        batch_size: int,
        device: torch.device,
        random_state: np.random.RandomState,
        verbose: int,
    ) -> None:
        self.owner, self.table, self.threat, self.verbose = owner, table, threat, verbose
        self.n_restarts, self.batch_size = n_restarts, batch_size
        self.seed = int(seeded_generator(owner, random_state).randint(np.iinfo(np.int32).max))
        self.device = resolve_device(owner, device)
        self.attacked = AttackedEstimator(
            owner, estimator, table, y, free=threat.free, values=threat.values, batch_size=batch_size
        )
        self.model: torch.nn.Module | None = None
        self.n_queries = np.zeros(len(table), dtype=np.int64)
        self.flat, self.only_black_box = np.zeros((2, len(table)), dtype=bool)
        self.findings = Findings(
            n_attacked=int(self.attacked.right.sum()), n_changed_minds=self.attacked.n_changed_minds()
        )
        self.plan = self._plan(attack, n_steps)
        self.context = AttackContext(
            model=self.model,
            seed=self.seed,
            n_steps=n_steps,
            max_queries=max_queries,
            has_scores=self.attacked.response is not None,
            ask=self._asker,
            starts=self._starts,
            draw=split_draw(self.attacked.splits, self.attacked.order, table.n_features),
            whole_steps=threat.whole_steps,
            trees=self.attacked.trees if TREE_ATTACK in self.plan else None,
            blur=0.0 if self.attacked.splits is None else self.attacked.splits.blur,
            whole=np.isin(np.arange(table.n_features), threat.rules.integer),
        )
        self.choices = threat.choices.those_that(self.attacked.accepts, threat.model, table)

    @property
    def blind(self) -> bool:
        """Whether every attack only asks: what one of them misses says nothing about gradients."""
        return all(attack.only_asks for attack in self.plan)

    def run(
        self, rows: np.ndarray, eps: np.ndarray, *, plan: list[Attack] | None = None, draw: int = 0
    ) -> tuple[np.ndarray, NDArray[np.bool_], np.ndarray]:
        """Attack the rows within their `eps` until each is broken or every attack in `plan` has failed.

        Noise is drawn anew for every number `draw`.

        Returns
        -------
        X : ndarray of shape (len(rows), n_features)
            Rows that the estimator itself answers wrongly; clean where none was found.
        broken : ndarray of bool of shape (len(rows),)
        by : ndarray of shape (len(rows),)
            The `Attack` that broke the row, or None.
        """
        plan = self.plan if plan is None else plan
        X, broken, by = self._run_from(self.table.matrix[rows], rows, eps, plan, draw)
        left = np.flatnonzero(~broken)
        # What noise does to numbers alone is asked for; other attacks may change categories too.
        plan = [attack for attack in plan if attack.kind != "noise"]
        if len(self.choices) and len(left) and plan:
            X[left], broken[left], by[left] = self._run_changed(rows[left], eps[left], plan, draw)
        return X, broken, by

    def _run_changed(
        self, rows: np.ndarray, eps: np.ndarray, plan: list[Attack], draw: int
    ) -> tuple[np.ndarray, NDArray[np.bool_], np.ndarray]:
        """Attack rows some of whose categories are changed; what comes back is as in `run`."""
        X, broken, by = self.table.matrix[rows], np.zeros(len(rows), dtype=bool), np.full(len(rows), None)
        base, index, rank = self.choices.bases(self.attacked, X, rows)

        def keep(chosen: np.ndarray, found: np.ndarray, hit: NDArray[np.bool_], who: np.ndarray) -> None:
            # Of several that break a row, the most promising is written last.
            hits = np.flatnonzero(hit)[::-1]
            at = index[chosen[hits]]
            X[at], broken[at], by[at] = found[hits], True, who[hits]

        everything = np.arange(len(base))
        keep(everything, *self._ask_about(base, rows[index], plan[0]))
        first, last = 0, 1
        # Where that is not enough, few calls with many rows are faster than many calls with few.
        while self.threat.moves_numbers and first <= rank.max(initial=-1):
            chosen = np.flatnonzero(~broken[index] & (first <= rank) & (rank < last))
            at = index[chosen]
            keep(chosen, *self._run_from(base[chosen], rows[at], eps[at], plan, draw))
            first, last = last, 2 * last + 1
        return X, broken, by

    def _run_from(
        self, base: np.ndarray, rows: np.ndarray, eps: np.ndarray, plan: list[Attack], draw: int
    ) -> tuple[np.ndarray, NDArray[np.bool_], np.ndarray]:
        """Attack numbers around `base`, rows of the table of which some categories may be changed.

        Where `rows` holds a row several times, one of its copies is enough.
        """
        if not self.threat.moves_numbers:
            return self._ask_about(base, rows, plan[0])
        X, broken, by = base.copy(), np.zeros(len(rows), dtype=bool), np.full(len(rows), None, dtype=object)
        tries = self._tries(plan, draw)
        # A bar of a single step would only flicker, four hundred times on the grid of the paper.
        verbose = self.verbose if len(tries) > 1 else 0
        for attack, trial in progress(tries, verbose=verbose, description="Attacking"):
            standing = np.flatnonzero(~np.isin(rows, rows[broken]))
            size = max(1, self.batch_size // attack.rows_per_call)
            for first in range(0, len(standing), size):
                batch = standing[first : first + size]
                found, hit = self._try(attack, base[batch], rows[batch], eps[batch], trial)
                X[batch[hit]], broken[batch[hit]], by[batch[hit]] = found[hit], True, attack
        return X, broken, by

    def _ask_about(self, base: np.ndarray, rows: np.ndarray, attack: Any) -> Any:
        """Ask about rows of which no number moves, in the name of an attack: all would find the same."""
        X, broken = self.threat.settle(base, base, 0.0, rows)
        np.add.at(self.n_queries, rows, int(attack.kind == "black_box"))
        if broken.any():
            broken[broken] = self.attacked.broken(X[broken], rows[broken])
        return X, broken, np.where(broken, attack, None)

    def _tries(self, plan: list[Attack], draw: int) -> list[tuple[Attack, int]]:
        def first(attack: Attack) -> int:
            return draw * self.n_restarts if attack.kind == "noise" else 0

        return [(attack, first(attack) + t) for attack in plan for t in range(self.n_restarts)]

    def measure(
        self,
        rows: np.ndarray,
        eps: float | np.ndarray,
        results: tuple[np.ndarray, NDArray[np.bool_], np.ndarray],
    ) -> np.ndarray:
        """Return the radius that each of the results of `run` proves; noise has no ball, but its own eps."""
        X, _, by = results
        distance = np.minimum(self.threat.distance(X, self.table.matrix[rows]), eps)
        knows_no_ball = np.array([attack is not None and not attack.keeps_ball for attack in by], dtype=bool)
        return np.where(knows_no_ball, eps, distance)

    def minimum_plan(self) -> list[Attack]:
        """Return, in a list, the attack that finds small perturbations without being told eps."""
        smallest = [attack.smallest for attack in self.plan if attack.smallest is not None]
        return sorted(smallest, key=lambda attack: attack.kind != "gradient")[:1]

    def linear_radius(self, rows: np.ndarray) -> np.ndarray:
        """Return the radius at which the margin would be used up, were it linear around the rows."""
        radius = np.empty(len(rows))
        for batch in np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // self.batch_size))):
            base, ones = self.table.matrix[rows[batch]], np.ones(len(batch))
            ball = self.threat.ball(base, ones, rows[batch], device=self.device, dtype=self.dtype)
            y = torch.as_tensor(self.attacked.target[rows[batch]], device=self.device)
            radius[batch] = linear_radius(cast(torch.nn.Module, self.model), ball, y).cpu().numpy()
        return radius

    def spread_ratio(self) -> float:
        """Return by what factor the ranges of columns that count in the same unit differ, 1 with units given.

        The outer tenths are left out: some pixels at the edge of images hardly vary.
        """
        moved = np.setdiff1d(np.arange(self.table.n_features), self.threat.fixed)
        spread = self.table.spread[moved]
        spread = spread[spread > 0]
        if len(spread) < 2 or self.threat.scaled:
            return 1.0
        low, high = np.quantile(spread, [0.1, 0.9])
        return float(high / low)

    def _try(
        self, attack: Attack, base: np.ndarray, rows: np.ndarray, eps: np.ndarray, trial: int
    ) -> tuple[np.ndarray, NDArray[np.bool_]]:
        """Run one attack once; return its points, settled, and which of them are answered wrongly."""
        if attack.kind == "foreign":
            candidates, claimed = self._foreign(attack.run, base, rows, eps)
        else:
            candidates, claimed = self._own(attack, base, rows, eps, trial)
        limit = eps if attack.keeps_ball else np.inf
        candidates, good = self.threat.settle(candidates, base, limit, rows)
        hit = good & claimed
        if hit.any():
            hit[hit] = self.attacked.broken(candidates[hit], rows[hit])
        if attack.kind == "black_box" and not self.blind:
            self.only_black_box[rows[hit]] = True
        return candidates, hit

    def _own(
        self, attack: Attack, base: np.ndarray, rows: np.ndarray, eps: np.ndarray, trial: int
    ) -> tuple[np.ndarray, NDArray[np.bool_]]:
        where: dict[str, Any] = {"device": "cpu", "dtype": torch.float64}
        if attack.kind == "gradient":
            where = {"device": self.device, "dtype": self.dtype}
        ball = self.threat.ball(base, eps, rows, **where)
        y = torch.as_tensor(self.attacked.target[rows], device=where["device"])
        found = attack.run(self.context, ball, y, trial)
        self.flat[rows[found.flat.cpu().numpy()]] = True
        return found.x.cpu().numpy(), found.broken.cpu().numpy()

    def _foreign(
        self, function: Callable[..., Any], base: np.ndarray, rows: np.ndarray, eps: np.ndarray
    ) -> tuple[np.ndarray, NDArray[np.bool_]]:
        X = function(
            self.attacked.estimator, self.table.restore(base.copy(), rows), self.attacked.y[rows].copy()
        )
        X = Table(self.owner, X, known=self.table).matrix
        if X.shape != base.shape:
            raise ValueError(f"The attack returned rows of shape {X.shape} for rows of shape {base.shape}.")
        ball = self.threat.ball(base, eps, rows, device="cpu", dtype=torch.float64)
        x = ball.project(as_tensor(X, dtype=torch.float64))
        x = x if ball.snap is None else ball.snap(x, ball)
        return x.numpy(), np.ones(len(rows), dtype=bool)

    def _asker(self, ball: Ball) -> Callable[..., Any]:
        """Return the function by which a black box asks about points around the rows of `ball`."""
        rows, base = ball.rows.numpy(), ball.centre.numpy().astype(self.table.matrix.dtype)

        def ask(x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            at = rows[index.numpy()]
            np.add.at(self.n_queries, at, 1)
            X, good = self.threat.settle(x.numpy(), base[index.numpy()], np.inf, at)
            lead = self.attacked.lead(X, at)
            hit = good & (lead > 0)
            if self.attacked.response is not None and hit.any():
                hit[hit] = self.attacked.wrong(X[hit], at[hit])
            lead[~good] = -np.inf
            return torch.from_numpy(lead), torch.from_numpy(hit)

        return ask

    def _starts(self, ball: Ball, n_starts: int) -> Tensor:
        """Return the nearest rows that are answered with another class, (n_starts, n, d)."""
        random = np.random.default_rng(self.seed)
        pool = random.permutation(len(self.table))[:_POOL]
        points = torch.as_tensor(self.table.matrix[pool], dtype=ball.centre.dtype)
        centre, others = (ball.raw_to_unit(rows).nan_to_num(nan=0.0) for rows in (ball.centre, points))
        apart = torch.cdist(centre, others, p=ball.norm)
        same = self.attacked.predicted[pool][None] == self.attacked.y[ball.rows.numpy()][:, None]
        apart[torch.from_numpy(same)] = torch.inf
        nearest = points[apart.topk(min(n_starts, len(pool)), dim=1, largest=False).indices.T]
        return torch.where(nearest.isnan(), ball.centre, nearest)

    def _plan(self, attack: Attack | str, n_steps: int) -> list[Attack]:
        """Return the attacks to run, and make the model where one needs it."""
        plan, blind, self.seeks_worst = make_plan(attack, n_steps)
        if any(attack.kind == "gradient" for attack in plan):
            plan = plan if self._make_model(may_fail=self.seeks_worst) else blind
        # First, since it decides nearly all rows of a sum of trees, and finds the nearest point that does.
        return [TREE_ATTACK, *plan] if self.seeks_worst and self.attacked.trees is not None else plan

    def _make_model(self, *, may_fail: bool) -> bool:
        for dtype in model_dtypes(self.table.matrix, self.device):
            try:
                model, n_wrong = self.attacked.differentiable(device=self.device, dtype=dtype)
            except NotConvertibleError:
                if may_fail:
                    return False
                raise
            self.findings.n_mismatched = n_wrong
            if n_wrong == 0:
                self.model, self.dtype = model, dtype
                return True
        return False
