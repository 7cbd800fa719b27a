"""Attacks that climb a loss along its gradient inside each row's ball: FGSM, PGD, APGD."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .balls import Ball
from .losses import best_wrong_classes, cross_entropy, margin, targeted_margin

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

# By how many times the usual rounding error of a score a row must pass its boundary.
_SAFETY = 8


@dataclass
class Found:
    """What an attack brings back.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        The point that breaks the row, or the clean row.
    broken : Tensor of bool of shape (n,)
        Whether the model answers wrongly at `x`.
    flat : Tensor of bool of shape (n,)
        Whether the gradient was exactly zero where the attack started.
    """

    x: Tensor
    broken: Tensor
    flat: Tensor

    @classmethod
    def nothing(cls, ball: Ball) -> "Found":
        """Return what is known before the attack: every row stands."""
        none = torch.zeros(len(ball), dtype=torch.bool, device=ball.centre.device)
        return cls(ball.centre.clone(), none, none.clone())

    @classmethod
    def points(cls, ball: Ball, x: Tensor) -> "Found":
        """Return points of which only the estimator itself will say whether they break their rows."""
        found = cls.nothing(ball)
        return cls(x if ball.snap is None else ball.snap(x, ball), ~found.broken, found.flat)

    def record(self, index: Tensor, x: Tensor, hit: Tensor) -> None:
        """Keep the points `x` of the rows `index` where `hit`."""
        self.x[index[hit]] = x[hit]
        self.broken[index[hit]] = True


@dataclass(frozen=True)
class Probe:
    """What the model says at `x`: the loss, whether it is wrong there, and the gradient of the loss."""

    x: Tensor
    value: Tensor
    lead: Tensor
    gradient: Tensor

    @property
    def hit(self) -> Tensor:
        """Whether the model answers wrongly."""
        return self.lead > 0


def probe(
    model: Model, ball: Ball, x: Tensor, y: Tensor, loss: Loss, goal: Tensor, *, need_gradient: bool = True
) -> Probe:
    """Ask the model at `x`, or at the nearest point to it that obeys the rules without a gradient."""
    x = x if ball.snap is None else ball.snap(x, ball)
    point = x.detach().requires_grad_(need_gradient)
    with torch.set_grad_enabled(need_gradient):
        scores = model(point)
        value = loss(scores, goal)
    gradient = _slope(value, point) if need_gradient else torch.zeros_like(x)
    lead = margin(scores.detach(), y)
    ahead = torch.nonzero(lead > 0)[:, 0]
    if len(ahead):
        known = need_gradient and loss is margin
        slope = gradient[ahead] if known else slope_of_margin(model, x[ahead], y[ahead])
        lead[ahead] -= rounding_of_lead(x[ahead], slope, scores.detach()[ahead], ball.roundoff)
    return Probe(x.detach(), value.detach(), lead, torch.nan_to_num(gradient, nan=0.0))


def rounding_of_lead(x: Tensor, slope: Tensor, scores: Tensor, roundoff: float) -> Tensor:
    """Return by how much the margin at `x` may differ from one batch, kernel or precision to another.

    It is a share of the absolute sum of the products that make the margin, which are those of its gradient
    `slope` with the row; the scores themselves are rounded once more.
    """
    size = (slope * x).abs().nan_to_num().sum(dim=1) + scores.abs().amax(dim=1)
    return rounding_share(x.shape[1], roundoff) * size


def rounding_share(n: int, roundoff: float) -> float:
    """Return how far off a sum of n products may be, as a share of the sum of their absolute values.

    It is usually off by no more than sqrt(n) roundings (Higham and Mary 2019, SIAM J. Sci. Comput. 41); this
    is eight times that.
    """
    return _SAFETY * roundoff * n**0.5


def slope_of_margin(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of `margin` at each row; zeros where the model does not look at it."""
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        return _slope(margin(model(point), y), point)


def _slope(values: Tensor, point: Tensor) -> Tensor:
    """Return the gradients at `point`; zeros where the model does not look at it."""
    if not values.requires_grad:
        return torch.zeros_like(point)
    return torch.autograd.grad(values.sum(), point, materialize_grads=True)[0]


def pgd(
    model: Model,
    ball: Ball,
    y: Tensor,
    *,
    loss: Loss = cross_entropy,
    n_steps: int = 20,
    step: float | Tensor | None = None,
    start: Tensor | None = None,
    momentum: float = 0.0,
    decay: bool = False,
    stop_early: bool = True,
) -> Found:
    """Projected gradient descent (Madry et al. 2018, section 2.1): step along the gradient, project, repeat.

    With ``n_steps=1, step=1`` this is FGSM.

    Parameters
    ----------
    model : callable
        Rows (n, d) to decision scores (n, n_classes).
    ball : Ball
    y : Tensor of int of shape (n,)
        True classes.
    loss : callable
        ``loss(scores, y)`` per row.
    n_steps : int
    step : float or Tensor of shape (n, 1) or None
        Length of a step as a share of eps; None is 2.5 / n_steps.
    start : Tensor of shape (n, d) or None
        First point; None is the clean row.
    momentum : float
        Share of the previous direction that is kept (Dong et al. 2018, eq. 6).
    decay : bool
        Let the steps fall to zero along half a cosine.
    stop_early : bool
        Let a row leave as soon as it is broken; otherwise only the last point counts.

    Returns
    -------
    found : Found
    """
    found = Found.nothing(ball)
    index = torch.arange(len(ball), device=y.device)
    x = ball.centre if start is None else start
    step = torch.as_tensor(2.5 / n_steps if step is None else step, dtype=x.dtype, device=x.device)
    length = (step * ball.eps[:, None]).expand(len(ball), 1)
    velocity = torch.zeros_like(x) if momentum else None
    for i in range(n_steps + 1):
        now = probe(model, ball, x, y, loss, y, need_gradient=i < n_steps)
        if i == 0:
            found.flat = (now.gradient == 0).all(dim=1)
        hit = now.hit if stop_early or i == n_steps else torch.zeros_like(now.hit)
        found.record(index, now.x, hit)
        gradient = now.gradient
        if hit.any():
            keep = torch.nonzero(~hit)[:, 0]
            index, x, y, length, gradient = (part[keep] for part in (index, x, y, length, gradient))
            ball = ball.select(keep)
            velocity = velocity if velocity is None else velocity[keep]
        if len(index) == 0 or i == n_steps:
            break
        if velocity is not None:
            size = gradient.abs().mean(dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
            velocity = gradient = momentum * velocity + gradient / size
        pace = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * i / n_steps))).item() if decay else 1.0
        x = ball.project(x + pace * length * ball.steepest(x, gradient))
    return found


@dataclass
class _Climb:
    """State of APGD, one entry per row still standing."""

    index: Tensor
    x: Tensor
    previous: Tensor
    best_x: Tensor
    best_value: Tensor
    best_gradient: Tensor
    gradient: Tensor
    value: Tensor
    step: Tensor
    rises: Tensor
    checked_value: Tensor
    checked_step: Tensor

    def select(self, keep: Tensor) -> "_Climb":
        return _Climb(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))


def apgd(
    model: Model,
    ball: Ball,
    y: Tensor,
    *,
    loss: Loss = cross_entropy,
    n_steps: int = 50,
    start: Tensor | None = None,
    momentum: float = 0.25,
    goal: Tensor | None = None,
) -> Found:
    """Projected gradient with steps that halve themselves (Croce & Hein 2020, algorithm 1).

    Steps start at twice eps. The first of all goes to where a linear model would be worst off; in L1 they
    all lead towards such points (Frank & Wolfe 1956), at first all the way. At checkpoints that come ever
    closer, a row whose loss rose in fewer than three quarters of the steps, or not at all since its last
    checkpoint at the same step, halves its step and goes back to its best point. A row leaves as soon as
    it is broken.

    Parameters
    ----------
    model, ball, y, loss, n_steps, start
        As in `pgd`.
    momentum : float
        Share of the previous move in the next one.
    goal : Tensor with n rows or None
        What the loss is given beside the scores; None is `y`.

    Returns
    -------
    found : Found
    """
    found = Found.nothing(ball)
    x = ball.centre if start is None else start
    goal = y if goal is None else goal
    now = probe(model, ball, x, y, loss, goal)
    found.flat = (now.gradient == 0).all(dim=1)
    climb = _first_climb(now, ball)
    checks, last_check = _checkpoints(n_steps), 0
    for i in range(1, n_steps + 1):
        found.record(climb.index, now.x, now.hit)
        if now.hit.any():
            keep = torch.nonzero(~now.hit)[:, 0]
            climb, ball, y, goal = climb.select(keep), ball.select(keep), y[keep], goal[keep]
        if len(climb.index) == 0:
            return found
        _move(climb, ball, momentum if i > 1 else None)
        now = probe(model, ball, climb.x, y, loss, goal)
        _remember(climb, now)
        if i in checks:
            _halve(climb, i - last_check)
            last_check = i
    found.record(climb.index, now.x, now.hit)
    return found


def _first_climb(now: Probe, ball: Ball) -> _Climb:
    zeros = torch.zeros_like(now.value)
    return _Climb(
        index=torch.arange(len(ball), device=now.x.device),
        x=now.x,
        previous=now.x,
        best_x=now.x.clone(),
        best_value=now.value.clone(),
        best_gradient=now.gradient.clone(),
        gradient=now.gradient,
        value=now.value,
        step=2 * ball.eps,
        rises=zeros.clone(),
        checked_value=now.value.clone(),
        checked_step=torch.full_like(zeros, torch.inf),
    )


def _move(climb: _Climb, ball: Ball, momentum: float | None) -> None:
    """Take a step; the first one, without momentum, leads to where a linear model would be worst off."""
    target = ball.furthest(climb.gradient)
    if ball.norm == 1:
        # Projected steps in L1 cannot gather in the few features that pay; steps towards a corner can.
        share = climb.step / (2 * ball.eps).clamp(min=torch.finfo(climb.step.dtype).tiny)
        target = climb.x + share[:, None] * (target - climb.x)
    elif momentum is not None:
        target = ball.project(climb.x + climb.step[:, None] * ball.steepest(climb.x, climb.gradient))
    if momentum:
        ahead = (1 - momentum) * (target - climb.x) + momentum * (climb.x - climb.previous)
        target = ball.project(climb.x + ahead)
    climb.previous, climb.x = climb.x, target


def _remember(climb: _Climb, now: Probe) -> None:
    climb.rises += now.value > climb.value
    climb.value, climb.gradient = now.value, now.gradient
    better = now.value > climb.best_value
    climb.best_value = torch.where(better, now.value, climb.best_value)
    climb.best_x[better] = now.x[better]
    climb.best_gradient[better] = now.gradient[better]


def _halve(climb: _Climb, n_since: int) -> None:
    stalled = (climb.step == climb.checked_step) & (climb.best_value <= climb.checked_value)
    halve = (climb.rises < 0.75 * n_since) | stalled
    climb.checked_step, climb.checked_value = climb.step.clone(), climb.best_value.clone()
    climb.rises.zero_()
    climb.step = torch.where(halve, climb.step / 2, climb.step)
    back = halve[:, None]
    climb.x = torch.where(back, climb.best_x, climb.x)
    climb.previous = torch.where(back, climb.best_x, climb.previous)
    climb.gradient = torch.where(back, climb.best_gradient, climb.gradient)
    climb.value = torch.where(halve, climb.best_value, climb.value)


def _checkpoints(n_steps: int) -> set[int]:
    """Steps at which APGD looks back: 22% in, then ever closer but never closer than 6% (section 3.1)."""
    position, gap, steps = 0.22, 0.22, set()
    while position <= 1:
        steps.add(max(1, round(position * n_steps)))
        gap = max(gap - 0.03, 0.06)
        position += gap
    return steps


def aim(model: Model, ball: Ball, y: Tensor, *, n_classes: int) -> tuple[Found, Tensor]:
    """Try, for each wrong class, the point that would favour it most if the model were linear.

    Parameters
    ----------
    model, ball, y
        As in `pgd`.
    n_classes : int
        How many wrong classes to try, at most: those with the largest scores.

    Returns
    -------
    found : Found
        Rows that are broken there. Every row of a linear model that can be broken is, if all classes are
        tried: the worst case of a linear function in ball and box has a closed form.
    targets : Tensor of int of shape (n, n_tried)
        The wrong classes, those that came nearest first.
    """
    with torch.no_grad():
        scores = model(ball.centre)
    found = Found.nothing(ball)
    classes = best_wrong_classes(scores, y, min(n_classes, scores.shape[1] - 1))
    leads = torch.full(classes.shape, -torch.inf, dtype=scores.dtype, device=scores.device)
    everyone = torch.arange(len(ball), device=y.device)
    for t in range(classes.shape[1]):
        goal = torch.stack([y, classes[:, t]], dim=1)
        now = probe(model, ball, ball.centre, y, targeted_margin, goal)
        corner = ball.furthest(now.gradient)
        there = probe(model, ball, corner, y, targeted_margin, goal, need_gradient=False)
        found.record(everyone, there.x, there.hit)
        leads[:, t] = there.value
    return found, classes.gather(1, leads.argsort(dim=1, descending=True, stable=True))


def linear_radius(model: Model, ball: Ball, y: Tensor) -> Tensor:
    """Return the radius at which the margin would be used up, were it linear around the clean row."""
    now = probe(model, ball, ball.centre, y, margin, y)
    slope = ball.dual_length(now.gradient)
    return -now.lead / slope.clamp(min=torch.finfo(slope.dtype).tiny)
