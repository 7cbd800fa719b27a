"""Attacks that only ask: random search on scores, and ray search on answers alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from . import noise
from .balls import Ball
from .gradient import Found

# (points (m, d), which row each belongs to (m,)) -> lead of the best wrong class (m,), whether broken (m,).
Ask = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# (ball, uniform numbers (n, d)) -> for every coordinate a value it can reach.
Draw = Callable[[Ball, Tensor], Tensor]


def random_search(
    ask: Ask,
    ball: Ball,
    *,
    n_queries: int,
    seed: int,
    n_proposals: int = 4,
    draw: Draw | None = None,
) -> Found:
    """Change a few random coordinates, keep what lowers the lead of the true class, repeat.

    The idea is Square's (Andriushchenko et al. 2020) without images: the share of coordinates that
    change falls from a fifth to a single one as the budget is used up. Every iteration asks about
    `n_proposals` points of every row still standing in one call.

    Parameters
    ----------
    ask : callable
        ``ask(x, index) -> (lead, broken)``.
    ball : Ball
    n_queries : int
        Points asked about per row, at most.
    seed : int
    n_proposals : int
        Points asked about per row and call.
    draw : callable or None
        ``draw(ball, u) -> x`` turns uniform numbers (n, d) into new values of all coordinates; None
        draws the ends of what each coordinate can reach.

    Returns
    -------
    found : Found
    """
    found = Found.nothing(ball)
    draw = _ends if draw is None else draw
    index = torch.arange(len(ball))
    best, lead = ball.centre.clone(), torch.full((len(ball),), -torch.inf, dtype=torch.float64)
    n_iterations = max(1, n_queries // n_proposals)
    for i in range(n_iterations):
        share = 1.0 if i == 0 else 0.2 * (1 - i / n_iterations) ** 2
        proposals = torch.cat(
            [_mutated(ball, best, share, draw, seed, i * n_proposals + j) for j in range(n_proposals)]
        )
        leads, hits = ask(proposals, index.repeat(n_proposals))
        leads, hits = leads.view(n_proposals, -1), hits.view(n_proposals, -1)
        # A broken proposal outranks all others, whatever its score says.
        top = torch.where(hits, torch.inf, leads).argmax(dim=0)
        point = proposals.view(n_proposals, *best.shape)[top, torch.arange(len(index))]
        value, hit = (part.gather(0, top[None])[0] for part in (leads, hits))
        found.record(index, point, hit)
        better = value >= lead
        best[better], lead[better] = point[better], value[better]
        if hit.any():
            keep = torch.nonzero(~hit)[:, 0]
            index, best, lead, ball = index[keep], best[keep], lead[keep], ball.select(keep)
        if len(index) == 0:
            break
    return found


def _mutated(ball: Ball, x: Tensor, share: float, draw: Draw, seed: int, stream: int) -> Tensor:
    """Return `x` with about `share` of its coordinates, and at least one, drawn anew inside the ball."""
    n_features = x.shape[1]
    u = noise.uniform(seed, ball.rows, stream, 2 * n_features + 1)
    order, values, one = u[:, :n_features], u[:, n_features:-1], u[:, -1]
    changed = _some(order, share, one)
    mutant = torch.where(changed, draw(ball, values.to(x)), x)
    if ball.norm != torch.inf:
        mutant = _fit(ball, mutant, order - changed.to(order))
    mutant = ball.clip(mutant)
    return mutant if ball.snap is None else ball.snap(mutant, ball)


def _some(u: Tensor, share: float | Tensor, one: Tensor) -> Tensor:
    """Choose about `share` of the coordinates, and in any case the one that `one` in [0, 1) points to."""
    chosen = u < share
    chosen[torch.arange(len(u)), (one * u.shape[1]).long()] = True
    return chosen


def _ends(ball: Ball, u: Tensor) -> Tensor:
    """Move each coordinate as far as the ball alone lets it go, one way or the other."""
    sign = torch.where(u < 0.5, -1.0, 1.0).to(ball.centre)
    return ball.centre + sign * ball.unit_to_raw(ball.eps[:, None])


def _fit(ball: Ball, x: Tensor, priority: Tensor) -> Tensor:
    """Put coordinates of rows outside the ball back to clean, highest `priority` last, until they are inside.

    Unlike a projection this leaves the remaining coordinates where they are, just past a split of a tree
    for example. The last coordinate that still fits in part is moved in part.
    """
    order = priority.argsort(dim=1)
    moved = ball.raw_to_unit(x - ball.centre).gather(1, order).nan_to_num(nan=0.0)
    power = moved.abs() ** ball.norm
    room = (ball.eps[:, None] ** ball.norm - (power.cumsum(dim=1) - power)).clamp(min=0)
    allowed = room ** (1 / ball.norm)
    moved = torch.clamp(moved, -allowed, allowed)
    return ball.centre + ball.unit_to_raw(torch.zeros_like(moved).scatter(1, order, moved))


def ray_search(
    ask: Ask,
    ball: Ball,
    starts: Tensor,
    *,
    n_queries: int,
    seed: int,
    n_proposals: int = 4,
    goal: Tensor | None = None,
    draw: Draw | None = None,
) -> Found:
    """Shrink a perturbation of which only the answer is known: along its ray, and by changing coordinates.

    From the nearest of `starts` that is broken, every iteration asks about the same direction with a
    smaller radius, and about directions with some coordinates set to zero or to an end of the ball
    (after RayS, Chen & Gu 2020, and the Boundary Attack, Brendel et al. 2018), all a little smaller
    than the best so far.

    Parameters
    ----------
    ask, ball, n_queries, seed, n_proposals, draw
        As in `random_search`; only the broken part of the answers is used. `ball.eps` is the largest radius
        that counts as found.
    starts : Tensor of shape (n_starts, n, d)
        Points that may be broken, for every row.
    goal : Tensor of shape (n,) or None
        A row leaves when its radius is at most this; None is `ball.eps`.

    Returns
    -------
    found : Found
    """
    found = Found.nothing(ball)
    goal = ball.eps if goal is None else goal
    index = torch.arange(len(ball))
    best, radius = _nearest_start(ask, ball, starts, index)
    shrink = torch.full_like(radius, 0.5)
    n_iterations = max(0, (n_queries - len(starts)) // n_proposals)
    for i in range(n_iterations + 1):
        done = (radius <= goal) | ~radius.isfinite()
        found.record(index, best, radius <= ball.eps)
        if done.any():
            keep = torch.nonzero(~done)[:, 0]
            index, best, radius, shrink, goal = (part[keep] for part in (index, best, radius, shrink, goal))
            ball = ball.select(keep)
        if len(index) == 0 or i == n_iterations:
            break
        proposals = _smaller(ball, best, radius, shrink, seed, i * n_proposals, n_proposals, draw)
        _, hits = ask(proposals.flatten(0, 1), index.repeat(n_proposals))
        hits = hits.view(n_proposals, -1)
        sizes = torch.stack([ball.distance(x) for x in proposals])
        sizes = torch.where(hits, sizes, torch.inf)
        size, top = sizes.min(dim=0)
        better = size < radius
        best[better], radius[better] = proposals[top, torch.arange(len(index))][better], size[better]
        # The step along the ray grows after a success and shrinks after a failure.
        shrink = torch.where(hits[0], shrink * 1.5, shrink * 0.5).clamp(1e-4, 0.5)
    return found


def _nearest_start(ask: Ask, ball: Ball, starts: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    starts = torch.stack([ball.clip(x) for x in starts])
    if ball.snap is not None:
        wide = ball.with_eps(torch.full_like(ball.eps, torch.inf))
        starts = torch.stack([ball.snap(x, wide) for x in starts])
    _, hits = ask(starts.flatten(0, 1), index.repeat(len(starts)))
    sizes = torch.stack([ball.distance(x) for x in starts])
    radius, top = torch.where(hits.view(len(starts), -1), sizes, torch.inf).min(dim=0)
    return starts[top, index].clone(), radius


def _smaller(
    ball: Ball,
    best: Tensor,
    radius: Tensor,
    shrink: Tensor,
    seed: int,
    stream: int,
    n_proposals: int,
    draw: Draw | None,
) -> Tensor:
    """Return candidates (n_proposals, n, d) smaller than the best; the first one lies on its ray."""
    draw = _ends if draw is None else draw
    n_features = best.shape[1]
    inner = ball.with_eps(radius * (1 - shrink.clamp(max=0.02)))
    candidates = [ball.centre + (best - ball.centre) * (1 - shrink)[:, None]]
    for j in range(1, n_proposals):
        u = noise.uniform(seed, ball.rows, stream + j, 2 * n_features + 3)
        order, values = u[:, :n_features], u[:, n_features:-3]
        back, exponent, one = u[:, -3:-2] < 0.5, 1 + 6 * u[:, -2:-1], u[:, -1]
        fresh = torch.where(back, ball.centre, draw(inner, values.to(best)))
        candidates.append(inner.project(torch.where(_some(order, 2**-exponent, one), fresh, best)))
    if ball.snap is not None:
        snap = ball.snap
        candidates = [snap(x, inner) for x in candidates]
    return torch.stack(candidates)
