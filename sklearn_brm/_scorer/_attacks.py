"""The attacks: each makes one try at some rows and returns points to be tested again."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..functional.attacks import (
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


@dataclass(frozen=True)
class Attack:
    """How rows are attacked, under a label that no other attack of a plan has.

    Attributes
    ----------
    label : str
        What results call it.
    run : callable
        ``run(evaluation, ball, y, trial) -> Found``, or what the user gave, ``run(estimator, X, y) -> X``.
    kind : {"gradient", "noise", "black_box", "foreign"}
        What it needs to know of the estimator.
    keeps_ball : bool
        Whether its points lie in the ball; otherwise its eps counts, not how far they are.
    plain : callable or None
        The same attack as the paper runs it, where that is different.
    smallest : Attack or None
        The attack of the same kind that finds small perturbations without being told eps.
    """

    label: str
    run: Callable
    kind: str
    keeps_ball: bool = True
    plain: Callable | None = None
    smallest: "Attack | None" = None

    @property
    def rows_per_call(self):
        """By how much smaller its batches must be than those of one point per row."""
        return N_PROPOSALS if self.kind == "black_box" else 1

    def as_published(self):
        """Return the attack as the paper runs it."""
        return self if self.plain is None else dataclasses.replace(self, run=self.plain)


def unique_labels(attacks):
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


def uniform_noise(evaluation, ball, y, trial):
    """Add noise that is uniform in the ball (L-infinity), or of uniform direction at its surface."""
    draw = noise.uniform if ball.norm == np.inf else noise.normal
    u = draw(evaluation.seed, ball.rows, trial, ball.centre.shape[1])
    return _candidates(ball, ball.spread(u.to(ball.centre)))


def gaussian_noise(evaluation, ball, y, trial):
    """Add normal noise of standard deviation eps; it obeys the bounds but no ball."""
    z = noise.normal(evaluation.seed, ball.rows, trial, ball.centre.shape[1]).to(ball.centre)
    return _candidates(ball, ball.clip(ball.centre + ball.unit_to_raw(z * ball.eps[:, None])))


def climb(evaluation, ball, y, trial, *, method, loss, start_clean=True):
    """Climb a loss from the clean row; on later tries, or where that is flat, from a random point."""
    start = None if trial == 0 and start_clean else _random_start(evaluation, ball, trial)
    found = method(evaluation.model, ball, y, loss=loss, start=start)
    again = torch.nonzero(found.flat & ~found.broken)[:, 0]
    if trial == 0 and len(again):
        left = ball.select(again)
        other = method(evaluation.model, left, y[again], loss=loss, start=_random_start(evaluation, left, 1))
        found.record(again, other.x, other.broken)
    return found


def climb_targets(evaluation, ball, y, trial, *, method, n_steps):
    """Climb the lead of the wrong classes that are nearest, each in turn, from random points."""
    found, targets = aim(evaluation.model, ball, y, n_classes=n_steps)
    for t in range(min(_N_TARGETS, targets.shape[1])):
        left = torch.nonzero(~found.broken)[:, 0]
        if len(left) == 0:
            break
        start = _random_start(evaluation, ball.select(left), 1000 * (t + 1) + trial)
        goal = torch.stack([y[left], targets[left, t]], dim=1)
        other = method(
            evaluation.model, ball.select(left), y[left], loss=targeted_margin, start=start, goal=goal
        )
        found.record(left, other.x, other.broken)
        found.flat[left] |= other.flat
    return found


def shrink_and_grow(evaluation, ball, y, trial):
    """Look for the smallest perturbation, then keep those within eps."""
    start = None if trial == 0 else _random_start(evaluation, ball, trial)
    found = minimum_norm(evaluation.model, ball, y, n_steps=evaluation.n_steps, start=start)
    found.broken &= ball.distance(found.x) <= ball.eps
    return found


def ask_only(evaluation, ball, y, trial):
    """Search at random on scores where there are some, and shrink rays from rows of other classes.

    Where gradients have been tried already, half of the budget and no rays are enough to find out
    whether they mislead.
    """
    found, seed = Found.nothing(ball), evaluation.seed + 1 + trial
    budget = evaluation.max_queries
    steps = evaluation.threat.whole_steps(float(ball.eps.max()), budget)
    if steps is not None:
        return try_every_step(evaluation.asker(ball), ball, torch.from_numpy(steps))
    if evaluation.attacked.response is not None:
        budget = max(1, budget // 2)
        found = random_search(
            evaluation.asker(ball),
            ball,
            n_queries=budget,
            seed=seed,
            n_proposals=N_PROPOSALS,
            draw=evaluation.draw,
        )
    left = torch.nonzero(~found.broken)[:, 0]
    if len(left) and (evaluation.model is None or evaluation.attacked.response is None):
        ball = ball.select(left)
        other = ray_search(
            evaluation.asker(ball),
            ball,
            evaluation.starts(ball, _N_STARTS),
            n_queries=budget,
            seed=seed,
            n_proposals=N_PROPOSALS,
            draw=evaluation.draw,
        )
        found.record(left, other.x, other.broken)
    return found


def try_every_step(ask, ball, steps):
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


def smallest_blind(evaluation, ball, y, trial):
    """Shrink rays for as long as the budget lasts."""
    return ray_search(
        evaluation.asker(ball),
        ball,
        evaluation.starts(ball, _N_STARTS),
        n_queries=evaluation.max_queries,
        seed=evaluation.seed + 1 + trial,
        n_proposals=N_PROPOSALS,
        goal=torch.zeros_like(ball.eps),
        draw=evaluation.draw,
    )


def gradient_attacks(n_steps):
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


def _paper_pgd(model, ball, y, **kwargs):
    step = (0.01 / ball.eps).clamp(max=0.1)[:, None]
    return pgd(model, ball, y, n_steps=20, step=step, stop_early=False, **kwargs)


_SMALLEST_BLIND = Attack("black_box", smallest_blind, "black_box")
BLIND_ATTACKS = {
    "random": Attack("random", uniform_noise, "noise"),
    "gaussian": Attack("gaussian", gaussian_noise, "noise", keeps_ball=False),
    "black_box": Attack("black_box", ask_only, "black_box", smallest=_SMALLEST_BLIND),
}
ATTACKS = ("worst_case", *gradient_attacks(1), *BLIND_ATTACKS)


def foreign(function):
    """Return a function of the user's as an attack."""
    return Attack(getattr(function, "__name__", type(function).__name__), function, "foreign")


def _random_start(evaluation, ball, trial):
    """Start at a random corner of an L-infinity ball, or at a random point of the surface of another.

    Rectified powers grow ever steeper away from the data, and what is steepest at the clean row need not
    be so at the corners: starting there broke a tenth more rows of a network with power 4.5. A feature at
    the edge of the box starts inside, since its gradient may be exactly zero just there: that of the norm
    by which a row is divided is zero in a pixel that is 0.
    """
    draw = noise.uniform if ball.norm == np.inf else noise.normal
    u = draw(evaluation.seed, ball.rows, 1000 + trial, ball.centre.shape[1])
    return ball.spread((u.round() if ball.norm == np.inf else u).to(ball.centre), inward=True)


def _candidates(ball, x):
    """Return points of which only the estimator itself will say whether they break their row."""
    found = Found.nothing(ball)
    found.x, found.broken = x if ball.snap is None else ball.snap(x, ball), ~found.broken
    return found
