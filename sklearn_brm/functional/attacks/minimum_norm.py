"""The smallest perturbation that breaks a row, by a ball that shrinks and grows along the way."""

import math

import torch
from torch import Tensor

from .balls import Ball
from .gradient import Found, Loss, Model, Probe, probe
from .losses import margin


def minimum_norm(
    model: Model,
    ball: Ball,
    y: Tensor,
    *,
    loss: Loss = margin,
    n_steps: int = 50,
    start: Tensor | None = None,
) -> Found:
    """Fast minimum-norm attack (Pintor et al. 2021, algorithm 1), with steps counted in the current radius.

    Each row climbs the margin inside a ball of its own. The first radii come from the linear
    approximation of the margin; once the row is broken the ball shrinks by a share that falls along half
    a cosine, and where it stands again the ball grows by as much.

    Parameters
    ----------
    model, ball, y, loss, n_steps, start
        As in `pgd`; `ball.eps` is the largest radius that counts.

    Returns
    -------
    found : Found
        The points are the smallest found, not only the first.
    """
    found = Found.nothing(ball)
    everyone = torch.arange(len(ball), device=y.device)
    smallest = torch.full_like(ball.eps, torch.inf)
    radius, limit = torch.zeros_like(ball.eps), ball.eps
    x = ball.centre if start is None else start
    for i in range(n_steps + 1):
        now = probe(model, ball, x, y, loss, y, need_gradient=i < n_steps)
        if i == 0:
            found.flat = (now.gradient == 0).all(dim=1)
        size = ball.distance(now.x)
        better = now.hit & (size < smallest)
        smallest = torch.where(better, size, smallest)
        found.record(everyone, now.x, better)
        wave = 0.5 * (1 + math.cos(math.pi * i / n_steps))
        radius = _next_radius(ball, now, size, smallest, radius, 1e-3 + 0.1 * wave).minimum(limit)
        # Rows never broken yet are still on their way out and keep taking whole steps.
        pace = torch.where(smallest.isfinite(), 0.02 + 0.98 * wave, 1.0)
        step = (pace * radius)[:, None] * ball.steepest(now.x, now.gradient)
        x = ball.with_eps(radius).project(now.x + step)
    return found


def _next_radius(
    ball: Ball, now: Probe, size: Tensor, smallest: Tensor, radius: Tensor, share: float
) -> Tensor:
    slope = ball.dual_length(now.gradient).clamp(min=torch.finfo(size.dtype).tiny)
    linear = torch.maximum(size - now.lead / slope, radius * 1.1)
    growing = torch.where(smallest.isfinite(), radius * (1 + share), linear)
    return torch.where(now.hit, torch.minimum(radius, smallest) * (1 - share), growing)
