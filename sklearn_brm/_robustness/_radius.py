"""The smallest radius that breaks each row: by bisection, once per row, or up the paper's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import as_numbers, parameter_error, progress

if TYPE_CHECKING:
    from ._attacks import Attack
    from ._evaluation import Evaluation

# Attempts after which a row is left with what was found; a hundred halvings exhaust float64.
_MOST_ROUNDS = 100
# Relative width at which a row's bracket is narrow enough; a black box would waste its queries on less.
_TOLERANCE, _BLIND_TOLERANCE = 0.01, 0.05
# Radii of a curve for which none are given, and the rows that are asked where it should begin and end.
_N_RADII, _N_SCOUTS = 20, 32
# A row that stood at every radius is tried at so many others, from this share of the first guess on.
_N_RUNGS, _LOWEST_RUNG = 16, 16
# Where so many of them break no row at all, the rest is left out.
_N_PROBES = 2


@dataclass
class Radii:
    """Per row: the smallest radius known to break it, the row that proves it, the `Attack` that found it."""

    radius: np.ndarray
    X: np.ndarray
    by: np.ndarray

    @classmethod
    def unknown(cls, evaluation: Evaluation) -> Radii:
        """Return 0 for rows that are wrong when clean, and inf for all others."""
        radius = np.where(evaluation.attacked.right, np.inf, 0.0)
        return cls(radius, evaluation.table.matrix.copy(), np.full(len(radius), None, dtype=object))

    def improve(
        self, rows: np.ndarray, radius: np.ndarray, results: tuple[np.ndarray, NDArray[np.bool_], np.ndarray]
    ) -> None:
        """Keep what is smaller than what is known."""
        X, broken, by = results
        better = broken & (radius < self.radius[rows])
        at = rows[better]
        self.radius[at], self.X[at], self.by[at] = radius[better], X[better], by[better]


def bisect(evaluation: Evaluation, *, max_eps: float, grid: np.ndarray | None = None) -> Radii:
    """Find each row's radius by attacks at radii that close in on it from both sides.

    Parameters
    ----------
    evaluation : Evaluation
    max_eps : float
        Largest radius that counts.
    grid : ndarray or None
        The only radii that are asked for, rising. None asks for the radius itself.

    Returns
    -------
    radii : Radii
        Distances of the rows found. With a grid they are not rounded up to it.
    """
    radii = Radii.unknown(evaluation)
    rows, plan = np.flatnonzero(evaluation.attacked.right), _without_black_box(evaluation)
    guess = _first_guess(evaluation, radii, rows, max_eps)
    low = _close_in(evaluation, radii, rows, guess, max_eps, grid, plan)
    if not evaluation.blind:
        saved = _climb_ladder(evaluation, radii, rows, guess, max_eps, grid, plan)
        _close_in(evaluation, radii, saved, guess, max_eps, grid, plan)
    if len(plan) < len(evaluation.plan):
        _last_word_to_black_box(evaluation, radii, low)
    return radii


def _close_in(
    evaluation: Evaluation,
    radii: Radii,
    active: np.ndarray,
    guess: np.ndarray,
    max_eps: float,
    grid: np.ndarray | None,
    plan: list[Attack],
) -> np.ndarray:
    """Improve the radii of the rows `active` from both sides; return the last ones at which they stood."""
    tolerance = _TOLERANCE if evaluation.model is not None else _BLIND_TOLERANCE
    low, n_wins, n_losses = np.zeros((3, len(radii.radius)))
    for _ in range(_MOST_ROUNDS):
        high = radii.radius[active]
        eps = _next_eps(low[active], high, guess[active], n_wins[active], n_losses[active], max_eps, grid)
        open_ = (eps > low[active]) & (eps < high)
        if grid is None:
            open_ &= high > low[active] * (1 + tolerance)
        active, eps = active[open_], eps[open_]
        if len(active) == 0:
            break
        results = evaluation.run(active, eps, plan=plan)
        radii.improve(active, evaluation.measure(active, eps, results), results)
        broken = results[1]
        n_wins[active[broken]] += 1
        n_losses[active[~broken]] += 1
        low[active[~broken]] = eps[~broken]
    return low


def _climb_ladder(
    evaluation: Evaluation,
    radii: Radii,
    rows: np.ndarray,
    guess: np.ndarray,
    max_eps: float,
    grid: np.ndarray | None,
    plan: list[Attack],
) -> np.ndarray:
    """Attack rows that stood at every radius at others, from far below the guess up; return those that break.

    The steps of an attack grow with the radius: at a large one they may jump over what is close by. Each row
    takes the rungs in another order, so that the first rounds tell whether there is anything to be found.
    """
    standing = rows[np.isinf(radii.radius[rows])]
    for k in range(_N_RUNGS):
        left = standing[np.isinf(radii.radius[standing])]
        if k == _N_PROBES and len(left) == len(standing):
            break
        lowest = guess[left] / _LOWEST_RUNG
        rung = (left + k * _N_RUNGS // _N_PROBES + k // _N_PROBES) % _N_RUNGS
        eps = lowest * (max_eps / lowest) ** ((rung + 0.5) / _N_RUNGS)
        if grid is not None:
            eps = np.append(grid, 0.0)[np.searchsorted(grid, eps, side="right") - 1]
        left, eps = left[eps > 0], eps[eps > 0]
        if len(left):
            results = evaluation.run(left, eps, plan=plan)
            radii.improve(left, evaluation.measure(left, eps, results), results)
    return standing[np.isfinite(radii.radius[standing])]


def _first_guess(evaluation: Evaluation, radii: Radii, rows: np.ndarray, max_eps: float) -> np.ndarray:
    """Start from the attacks that look for the smallest perturbation, or from the slope at the clean rows."""
    limit = np.full(len(rows), max_eps)
    plan = evaluation.minimum_plan()
    if plan:
        results = evaluation.run(rows, limit, plan=plan)
        radii.improve(rows, evaluation.measure(rows, limit, results), results)
    guess = np.full(len(radii.radius), max_eps / 4)
    if evaluation.model is not None:
        guess[rows] = evaluation.linear_radius(rows)
    return np.clip(guess, max_eps * 1e-6, max_eps)


def _next_eps(
    low: np.ndarray,
    high: np.ndarray,
    guess: np.ndarray,
    n_wins: np.ndarray,
    n_losses: np.ndarray,
    max_eps: float,
    grid: np.ndarray | None,
) -> np.ndarray:
    """Return the radius to try next: the guess, then away from the bound that is known, then between both."""
    with np.errstate(invalid="ignore", over="ignore"):
        below = high * 0.95 ** (2.0**n_wins)
        above = np.minimum(np.maximum(guess, low) * 2.0 ** np.minimum(n_losses, 1), max_eps)
        eps = np.where(low > 0, np.sqrt(low * high), below)
    eps = np.where(np.isinf(high), above, eps)
    if grid is None:
        return eps
    first, last = np.searchsorted(grid, low, side="right"), np.searchsorted(grid, high) - 1
    place = np.clip(np.searchsorted(grid, eps, side="right") - 1, first, np.maximum(first, last))
    return np.where(first <= last, grid[np.minimum(place, len(grid) - 1)], low)


def _last_word_to_black_box(evaluation: Evaluation, radii: Radii, low: np.ndarray) -> None:
    """Let the black box try the largest radius at which every other attack failed."""
    rows = np.flatnonzero(low > 0)
    plan = [attack for attack in evaluation.plan if attack.kind == "black_box"]
    results = evaluation.run(rows, low[rows], plan=plan)
    radii.improve(rows, evaluation.measure(rows, low[rows], results), results)


def look_again(evaluation: Evaluation, radii: Radii, grid: np.ndarray) -> tuple[int, int]:
    """Attack a tenth of the rows (20 to 100) at a random radius above the one found and at one below it.

    Bisection takes for granted that a row broken at one radius is broken at every larger one. Radii that
    turn out smaller are kept. Attacks that only ask are left out: they depend on luck at every radius.

    Returns
    -------
    n_weaker : int
        Rows that stood at the larger of two radii and broke at the smaller.
    n_compared : int
    """
    if evaluation.blind:
        return 0, 0
    random, right = np.random.default_rng(evaluation.seed), np.flatnonzero(evaluation.attacked.right)
    rows = random.permutation(right)[: np.clip(len(right) // 10, 20, 100)]
    place, plan = np.searchsorted(grid, radii.radius), _without_black_box(evaluation)
    up, down = rows[place[rows] < len(grid) - 1], rows[place[rows] > 0]
    _, broken_above, _ = evaluation.run(up, grid[random.integers(place[up] + 1, len(grid))], plan=plan)
    eps = grid[random.integers(place[down])]
    results = evaluation.run(down, eps, plan=plan)
    radii.improve(down, evaluation.measure(down, eps, results), results)
    return len(np.union1d(up[~broken_above], down[results[1]])), len(rows)


def spanning_grid(evaluations: list[Evaluation]) -> np.ndarray:
    """Return radii on a logarithmic scale from where nearly all rows stand to where nearly none do.

    One grid for all `evaluations`, so that their curves can be compared. It ends where the data do, beyond
    which no attack gains anything.
    """
    first, last = np.transpose([_ends(evaluation) for evaluation in evaluations])
    return np.geomspace(first.min(), last.max(), _N_RADII)


def _ends(evaluation: Evaluation) -> tuple[Any, ...]:
    """Look where a few rows break, and return half the radius of the first and a bit more than the last."""
    # Where no number moves, categories break the same rows at every radius.
    reach = evaluation.threat.room or 1.0
    right = np.flatnonzero(evaluation.attacked.right)
    scouts = np.random.default_rng(0).permutation(right)[:_N_SCOUTS]
    radii, doublings = Radii.unknown(evaluation), reach * 2.0 ** np.arange(-20, 1)
    guess = _first_guess(evaluation, radii, scouts, reach)
    _close_in(evaluation, radii, scouts, guess, reach, doublings, _without_black_box(evaluation))
    # A row that a category breaks is broken at every radius.
    radius = radii.radius[scouts][radii.radius[scouts] > 0]
    if not np.isfinite(radius).any():
        return reach / 1000, reach
    # One row in twenty that breaks at once, or one in fifty that never does, shall not stretch the curve.
    first, last = np.quantile(radius, [0.05, 0.98], method="lower")
    last = min(1.25 * last, reach)
    return min(first / 2, last / 10), last


def _without_black_box(evaluation: Evaluation) -> list[Attack]:
    """Return the plan without its most expensive attack, unless there is no other."""
    return [attack for attack in evaluation.plan if attack.kind != "black_box"] or evaluation.plan


def climb_grid(evaluation: Evaluation, grid: Any, *, every_row: bool = False) -> tuple[Radii, np.ndarray]:
    """Attack at every radius of a rising grid, as the paper does.

    Parameters
    ----------
    evaluation : Evaluation
    grid : ndarray of shape (n_eps,)
    every_row : bool
        Whether rows that a smaller radius broke are attacked again.

    Returns
    -------
    radii : Radii
        The first radius of the grid that broke each row.
    n_standing : ndarray of int of shape (n_eps,)
        Rows that this radius alone did not break.
    """
    radii, right = Radii.unknown(evaluation), np.flatnonzero(evaluation.attacked.right)
    plan, n_standing = [attack.as_published() for attack in evaluation.plan], np.zeros(len(grid), dtype=int)
    for i, eps in enumerate(progress(grid, verbose=evaluation.verbose, description="Radii")):
        active = right if every_row else right[np.isinf(radii.radius[right])]
        results = evaluation.run(active, np.full(len(active), eps), plan=plan, draw=i)
        radii.improve(active, np.full(len(active), eps), results)
        n_standing[i] = (~results[1]).sum()
    return radii, n_standing


def check_grid(owner: object, eps: Any) -> np.ndarray:
    """Return radii as a rising array."""
    rule = "a rising sequence of numbers in (0, inf)"
    grid = as_numbers(owner, "eps", eps, rule)
    if (
        grid.ndim != 1
        or len(grid) == 0
        or not np.isfinite(grid).all()
        or grid[0] <= 0
        or (np.diff(grid) <= 0).any()
    ):
        raise parameter_error(owner, "eps", rule, eps, ValueError)
    return grid


def paper_grid(plan: Any) -> Any:
    """Return the 400 radii of the paper: from 1e-6 to 10**-1.5, or to 8 for noise."""
    top = 8.0 if all(attack.kind == "noise" for attack in plan) else 10**-1.5
    return np.geomspace(1e-6, top, 400)
