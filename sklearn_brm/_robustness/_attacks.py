"""The attacks: each makes one try at some rows and returns points to be tested again."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from .._base import parameter_error
from ..functional import leaves
from ..functional.attacks import (
    Ball,
    Found,
    aim,
    apgd,
    cross_entropy,
    margin,
    minimum_norm,
    noise,
    pgd,
    plain_cross_entropy,
    random_search,
    ray_search,
    targeted_margin,
)

# Points of the black box asked about per row and call.
N_PROPOSALS = 4
_N_STARTS = 4
_N_TARGETS = 3
# Sets of leaves that are looked at for a row.
_MOST_STATES = 100


@dataclass(frozen=True)
class AttackContext:
    """What an attack may know of the estimator, and of the effort it is allowed.

    Attributes
    ----------
    model : Module or None
        The estimator in torch: scores of shape (n, n_classes) of rows on the device of the ball. None where
        it has no gradient, and for attacks that only ask.
    seed : int
        For random numbers, which `functional.attacks.noise` makes row by row.
    n_steps, max_queries : int
        As in `AdversarialScorer`.
    has_scores : bool
        Whether what is asked answers by how much a wrong class leads, or only whether one does.
    ask : callable
        ``ask(ball)`` returns the function ``(x, index) -> (lead, hits)`` that asks the estimator about points
        ``x`` around the rows ``index`` of the ball, and counts the queries.
    starts : callable
        ``starts(ball, n)`` returns the nearest rows that are answered with another class, (n, n_rows, d).
    draw : callable or None
        How a search should draw values for trees: just past their splits.
    whole_steps : callable
        ``whole_steps(eps, at_most)`` returns all moves where numbers are whole and moves few, else None.
    trees : TreeEnsemble or None
        The sum of trees that the estimator is, in `functional.leaves`.
    blur : ndarray of shape (n_features,)
        How far past a split of a tree one must be to be past it in every precision.
    whole : ndarray of bool of shape (n_features,) or None
        Which numbers move by whole steps.
    """

    model: torch.nn.Module | None
    seed: int
    n_steps: int
    max_queries: int
    has_scores: bool
    ask: Callable[..., Any]
    starts: Callable[..., Any]
    draw: Callable[..., Any] | None
    whole_steps: Callable[..., Any]
    trees: leaves.TreeEnsemble | None = None
    blur: np.ndarray | float = 0.0
    whole: np.ndarray | None = None


@dataclass(frozen=True)
class Attack:
    """A way to attack rows, to be given to `attack` beside the names of those that are there.

    Parameters
    ----------
    label : str
        What results call it; a number behind it tells it from another attack of the same label.
    run : callable
        ``run(context, ball, y, trial)`` takes an `AttackContext`, the `Ball` around each row, the indices of
        the true classes and the number of the try, counted from 0. It returns `Found`: points, which are put
        back into the ball and tested again, and the rows that they should break. For "foreign" it is
        ``run(estimator, X, y) -> X``, as that of a bare callable.
    kind : {"gradient", "noise", "black_box", "foreign"}, default="gradient"
        What it needs to know of the estimator: its gradient, which is where the ball lies on the device;
        nothing; its answers; or all of it.
    keeps_ball : bool, default=True
        Whether its points lie in the ball; otherwise its eps counts, not how far they are.
    plain : callable or None, default=None
        The same attack as the paper runs it, where that is different.
    smallest : Attack or None, default=None
        The attack of the same kind that finds small perturbations without being told eps.

    See Also
    --------
    sklearn_brm.AdversarialScorer : Takes it as `attack`, alone or in a list.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_brm import adversarial_examples
    >>> from sklearn_brm.attacks import Attack, Found, margin
    >>> def to_the_corner(context, ball, y, trial):
    ...     x = ball.centre.clone().requires_grad_()
    ...     margin(context.model(x), y).sum().backward()
    ...     return Found.points(ball, ball.furthest(x.grad))
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> model = LogisticRegression().fit(X, y)
    >>> corner = Attack("corner", to_the_corner)
    >>> adversarial_examples(model, X[:100], y[:100], eps=0.2, attack=corner).robust_accuracy
    0.78
    """

    label: str
    run: Callable[..., Any]
    kind: str = "gradient"
    keeps_ball: bool = True
    plain: Callable[..., Any] | None = None
    smallest: "Attack | None" = None

    @property
    def rows_per_call(self) -> int:
        """By how much smaller its batches must be than those of one point per row."""
        return N_PROPOSALS if self.kind == "black_box" else 1

    @property
    def only_asks(self) -> bool:
        """Whether it makes nothing of gradients, so that what it misses says nothing about them."""
        return self.kind in ("noise", "black_box")

    def as_published(self) -> "Attack":
        """Return the attack as the paper runs it."""
        return self if self.plain is None else dataclasses.replace(self, run=self.plain)


def unique_labels(attacks: list[Attack]) -> list[Attack]:
    """Return the attacks with numbers behind labels that occurred before."""
    taken, unique = set(), []
    for attack in attacks:
        label, number = attack.label, 1
        while label in taken:
            number += 1
            label = f"{attack.label} ({number})"
        taken.add(label)
        unique.append(dataclasses.replace(attack, label=label))
    return unique


def uniform_noise(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Add noise that is uniform in the ball (L-infinity), or of uniform direction at its surface."""
    draw = noise.uniform if ball.norm == np.inf else noise.normal
    u = draw(context.seed, ball.rows, trial, ball.centre.shape[1])
    return Found.points(ball, ball.spread(u.to(ball.centre)))


def gaussian_noise(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Add normal noise of standard deviation eps; it obeys the bounds but no ball."""
    z = noise.normal(context.seed, ball.rows, trial, ball.centre.shape[1]).to(ball.centre)
    return Found.points(ball, ball.clip(ball.centre + ball.unit_to_raw(z * ball.eps[:, None])))


def climb(
    context: AttackContext,
    ball: Ball,
    y: Tensor,
    trial: int,
    *,
    method: Callable[..., Any],
    loss: Callable[..., Any],
    start_clean: bool = True,
) -> Found:
    """Climb a loss from the clean row; on later tries, or where that is flat, from a random point."""
    start = None if trial == 0 and start_clean else _random_start(context, ball, trial)
    found = method(context.model, ball, y, loss=loss, start=start)
    again = torch.nonzero(found.flat & ~found.broken)[:, 0]
    if trial == 0 and len(again):
        left = ball.select(again)
        other = method(context.model, left, y[again], loss=loss, start=_random_start(context, left, 1))
        found.record(again, other.x, other.broken)
    return found


def climb_targets(
    context: AttackContext, ball: Ball, y: Tensor, trial: int, *, method: Callable[..., Any], n_steps: int
) -> Found:
    """Climb the lead of the wrong classes that are nearest, each in turn, from random points."""
    found, targets = aim(cast(torch.nn.Module, context.model), ball, y, n_classes=n_steps)
    for t in range(min(_N_TARGETS, targets.shape[1])):
        left = torch.nonzero(~found.broken)[:, 0]
        if len(left) == 0:
            break
        start = _random_start(context, ball.select(left), 1000 * (t + 1) + trial)
        goal = torch.stack([y[left], targets[left, t]], dim=1)
        other = method(
            context.model, ball.select(left), y[left], loss=targeted_margin, start=start, goal=goal
        )
        found.record(left, other.x, other.broken)
        found.flat[left] |= other.flat
    return found


def shrink_and_grow(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Look for the smallest perturbation, then keep those within eps."""
    start = None if trial == 0 else _random_start(context, ball, trial)
    model = cast(torch.nn.Module, context.model)
    found = minimum_norm(model, ball, y, n_steps=context.n_steps, start=start)
    found.broken &= ball.distance(found.x) <= ball.eps
    return found


def ask_only(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Search at random on scores where there are some, and shrink rays from rows of other classes.

    Where gradients have been tried already, half of the budget and no rays are enough to find out
    whether they mislead.
    """
    found, seed = Found.nothing(ball), context.seed + 1 + trial
    budget = context.max_queries
    steps = context.whole_steps(float(ball.eps.max()), budget)
    if steps is not None:
        return try_every_step(context.ask(ball), ball, torch.from_numpy(steps))
    if context.has_scores:
        budget = max(1, budget // 2)
        found = random_search(
            context.ask(ball),
            ball,
            n_queries=budget,
            seed=seed,
            n_proposals=N_PROPOSALS,
            draw=context.draw,
        )
    left = torch.nonzero(~found.broken)[:, 0]
    if len(left) and (context.model is None or not context.has_scores):
        ball = ball.select(left)
        other = ray_search(
            context.ask(ball),
            ball,
            context.starts(ball, _N_STARTS),
            n_queries=budget,
            seed=seed,
            n_proposals=N_PROPOSALS,
            draw=context.draw,
        )
        found.record(left, other.x, other.broken)
    return found


def try_every_step(ask: Callable[..., Any], ball: Ball, steps: Tensor) -> Found:
    """Ask about the rows moved by each of the steps that stay in ball and box, nearest first."""
    found = Found.nothing(ball)
    for few in steps.split(N_PROPOSALS):
        index = torch.nonzero(~found.broken)[:, 0]
        x = ball.centre[index] + few[:, None]
        inside = (ball.clip(ball.centre + few[:, None])[:, index] == x).all(dim=2)
        step, row = torch.nonzero(inside, as_tuple=True)
        if len(row):
            _, hits = ask(x[step, row], index[row])
            found.record(index[row], x[step, row], hits)
    found.broken &= ball.distance(found.x) <= ball.eps * (1 + 1e-9)
    return found


def meet_leaves(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Search a combination of leaves that is wrong, and go to the nearest point where they meet."""
    centre, (low, high) = ball.centre.numpy(), (edge.numpy() for edge in ball.extent())
    scale = None if ball.scale is None else ball.scale.numpy()
    region = leaves.Region(low, high, centre, ball.eps.numpy(), ball.norm, scale, whole=context.whole)
    trees = cast(leaves.TreeEnsemble, context.trees)
    found = leaves.search(trees, region, y.numpy(), time_limit=np.inf, most_states=_MOST_STATES)
    x = np.where(found.broken[:, None], leaves.breaking_point(found, centre, 2 * context.blur), centre)
    points = Found.points(ball, torch.from_numpy(x))
    return Found(points.x, torch.from_numpy(found.broken), points.flat)


def smallest_blind(context: AttackContext, ball: Ball, y: Tensor, trial: int) -> Found:
    """Shrink rays for as long as the budget lasts."""
    return ray_search(
        context.ask(ball),
        ball,
        context.starts(ball, _N_STARTS),
        n_queries=context.max_queries,
        seed=context.seed + 1 + trial,
        n_proposals=N_PROPOSALS,
        goal=torch.zeros_like(ball.eps),
        draw=context.draw,
    )


def gradient_attacks(n_steps: int) -> dict[str, Attack]:
    """Return the attacks along gradients with this many steps, by name."""
    step_up, adapt = partial(pgd, n_steps=n_steps), partial(apgd, n_steps=n_steps)
    one_step = partial(pgd, n_steps=1, step=1.0)
    runs = {
        "fgsm": partial(climb, method=one_step, loss=cross_entropy),
        "pgd": partial(climb, method=step_up, loss=cross_entropy),
        "apgd": partial(climb, method=adapt, loss=cross_entropy),
        "apgd_margin": partial(climb, method=adapt, loss=margin, start_clean=False),
        "apgd_targeted": partial(climb_targets, method=adapt, n_steps=n_steps),
    }
    # The paper takes plain cross-entropy and looks at the last point only.
    plain = {
        "fgsm": partial(climb, method=partial(one_step, stop_early=False), loss=plain_cross_entropy),
        "pgd": partial(climb, method=_paper_pgd, loss=plain_cross_entropy),
    }
    smallest = Attack("minimum_norm", shrink_and_grow, "gradient")
    attacks = {name: Attack(name, run, "gradient", plain=plain.get(name)) for name, run in runs.items()}
    attacks["apgd_margin"] = dataclasses.replace(attacks["apgd_margin"], smallest=smallest)
    return {**attacks, "minimum_norm": dataclasses.replace(smallest, smallest=smallest)}


def _paper_pgd(model: torch.nn.Module, ball: Ball, y: Tensor, **kwargs: Any) -> Found:
    step = (0.01 / ball.eps).clamp(max=0.1)[:, None]
    return pgd(model, ball, y, n_steps=20, step=step, stop_early=False, **kwargs)


_SMALLEST_BLIND = Attack("black_box", smallest_blind, "black_box")
BLIND_ATTACKS = {
    "random": Attack("random", uniform_noise, "noise"),
    "gaussian": Attack("gaussian", gaussian_noise, "noise", keeps_ball=False),
    "black_box": Attack("black_box", ask_only, "black_box", smallest=_SMALLEST_BLIND),
}
TREE_ATTACK = Attack("leaves", meet_leaves, "black_box")
# Words that stand for several attacks, as far as the estimator allows them.
SEVERAL = {"worst_case": ("apgd", "apgd_margin", "apgd_targeted", "black_box")}
ATTACKS = (*SEVERAL, *gradient_attacks(1), *BLIND_ATTACKS)


def check_attack(owner: object, attack: Attack | str) -> None:
    """Check the parameter `attack`: a name, an `Attack`, a callable, or several of them."""
    wanted = _as_list(attack)
    rule = f"a callable, an Attack, one of {', '.join(map(repr, ATTACKS))}, or a list of such"
    if not isinstance(wanted, (list, tuple)) or len(wanted) == 0:
        raise parameter_error(owner, "attack", rule, attack)
    for item in wanted:
        ours = isinstance(item, Attack) or (isinstance(item, str) and item in ATTACKS)
        # Calling a class would build an attack, not run it.
        if not ours and (isinstance(item, type) or not callable(item)):
            raise parameter_error(owner, "attack", rule, item)


def _as_list(attack: Any) -> list[Attack]:
    return [attack] if isinstance(attack, str | Attack) or callable(attack) else attack


def _names_several(attack: object) -> TypeGuard[str]:
    return isinstance(attack, str) and attack in SEVERAL


def make_plan(attack: Attack | str, n_steps: int) -> tuple[list[Attack], list[Attack], bool]:
    """Return the attacks that the parameter `attack` names, each once, and what is left without a gradient.

    Returns
    -------
    plan, blind : lists of Attack
        All, and those that do without a gradient, the black box among them.
    seeks_worst : bool
        Whether a word for several attacks is among them, which leaves to the estimator what helps.
    """
    known = {**gradient_attacks(n_steps), **BLIND_ATTACKS}
    wanted = _as_list(attack)
    items = [one for item in wanted for one in (SEVERAL[item] if _names_several(item) else (item,))]
    # Two of the user's may share a name; the same of ours twice would only be the same work twice.
    plan = list(dict.fromkeys(_as_attack(item, known) for item in items))
    blind = [attack for attack in plan if attack.kind != "gradient"]
    blind = list(dict.fromkeys([*blind, BLIND_ATTACKS["black_box"]]))
    return unique_labels(plan), unique_labels(blind), any(map(_names_several, wanted))


def _as_attack(item: Attack | str, known: dict[str, Attack]) -> Attack:
    if isinstance(item, Attack):
        return item
    return foreign(item) if callable(item) else known[item]


def foreign(function: Callable[..., Any]) -> Attack:
    """Return a function of the user's as an attack."""
    return Attack(getattr(function, "__name__", type(function).__name__), function, "foreign")


def _random_start(context: AttackContext, ball: Ball, trial: int) -> Tensor:
    """Start at a random corner of an L-infinity ball, or at a random point of the surface of another.

    Rectified powers grow ever steeper away from the data, and what is steepest at the clean row need not
    be so at the corners: starting there broke a tenth more rows of a network with power 4.5. A feature at
    the edge of the box starts inside, since its gradient may be exactly zero just there: that of the norm
    by which a row is divided is zero in a pixel that is 0.
    """
    draw = noise.uniform if ball.norm == np.inf else noise.normal
    u = draw(context.seed, ball.rows, 1000 + trial, ball.centre.shape[1])
    return ball.spread((u.round() if ball.norm == np.inf else u).to(ball.centre), inward=True)
