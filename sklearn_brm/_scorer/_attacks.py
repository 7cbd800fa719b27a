"""The attacks by name: each makes one try at some rows and returns points to be tested again."""

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
    """Return the white-box attacks with this many steps, by name."""
    step_up, adapt = partial(pgd, n_steps=n_steps), partial(apgd, n_steps=n_steps)
    return {
        "fgsm": partial(climb, method=partial(pgd, n_steps=1, step=1.0), loss=cross_entropy),
        "pgd": partial(climb, method=step_up, loss=cross_entropy),
        "apgd": partial(climb, method=adapt, loss=cross_entropy),
        "apgd_margin": partial(climb, method=adapt, loss=margin, start_clean=False),
        "apgd_targeted": partial(climb_targets, method=adapt, n_steps=n_steps),
        "minimum_norm": shrink_and_grow,
    }


def paper_attacks(plan):
    """Return `plan` with FGSM and PGD as the paper runs them: plain cross-entropy, the last point only."""
    fgsm = partial(pgd, n_steps=1, step=1.0, stop_early=False)
    plain = {"fgsm": fgsm, "pgd": _paper_pgd}
    return {
        name: partial(climb, method=plain[name], loss=plain_cross_entropy) if name in plain else attack
        for name, attack in plan.items()
    }


def _paper_pgd(model, ball, y, **kwargs):
    step = (0.01 / ball.eps).clamp(max=0.1)[:, None]
    return pgd(model, ball, y, n_steps=20, step=step, stop_early=False, **kwargs)


NOISE_ATTACKS = {"random": uniform_noise, "gaussian": gaussian_noise}
BLIND_ATTACKS = {**NOISE_ATTACKS, "black_box": ask_only}
WHITE_BOX_ATTACKS = tuple(gradient_attacks(1))
ATTACKS = ("worst_case", *WHITE_BOX_ATTACKS, *BLIND_ATTACKS)


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
