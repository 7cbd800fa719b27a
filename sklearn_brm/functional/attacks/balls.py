"""Where an attacker may go: a ball around each row, cut by a box, and the steepest steps inside it."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ball:
    """The points x with ||(x - centre) / scale||_norm <= eps and lower <= x <= upper, one ball per row.

    Parameters
    ----------
    centre : Tensor of shape (n, d)
        The clean rows. They lie inside the box.
    eps : Tensor of shape (n,)
        Radius of each row's ball, in units of `scale`.
    norm : float
        inf, 2 or 1.
    scale : Tensor of shape (d,) or None
        What one unit is in each feature; positive. None means 1 everywhere.
    lower, upper : Tensor of shape (n, d) or (1, d), or None
        The box.
    snap : callable or None
        ``snap(x, ball) -> x`` moves points of the ball to the nearest ones that obey rules which have no
        gradient, such as integers. The models are asked there.
    rows : Tensor of int of shape (n,)
        Numbers of the rows, to which random numbers belong.
    roundoff : float or None
        Relative error of one rounding in the least precise arithmetic in which the points will be asked about
        again; None is that of `centre`.
    missing : Tensor of bool of shape (n, d) or None
        Where `centre`, and every point, is NaN; such features do not move.
    """

    centre: Tensor
    eps: Tensor
    norm: float = math.inf
    scale: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    snap: "Callable[[Tensor, Ball], Tensor] | None" = None
    # Never None once `__post_init__` has run.
    rows: Tensor = None  # type: ignore[assignment]
    roundoff: float = None  # type: ignore[assignment]
    missing: Tensor | None = None

    def __post_init__(self) -> None:
        if self.rows is None:
            object.__setattr__(self, "rows", torch.arange(len(self.centre), device=self.centre.device))
        if self.roundoff is None:
            object.__setattr__(self, "roundoff", torch.finfo(self.centre.dtype).eps / 2)

    def __len__(self) -> int:
        return len(self.centre)

    def select(self, index: Tensor) -> "Ball":
        """Return the balls of some of the rows."""

        def pick(box: Tensor | None) -> Tensor | None:
            return box if box is None or len(box) == 1 else box[index]

        return dataclasses.replace(
            self,
            centre=self.centre[index],
            eps=self.eps[index],
            lower=pick(self.lower),
            upper=pick(self.upper),
            rows=self.rows[index],
            missing=self.missing if self.missing is None else self.missing[index],
        )

    def with_eps(self, eps: Tensor) -> "Ball":
        """Return balls of other radii around the same rows."""
        return dataclasses.replace(self, eps=eps)

    def project(self, x: Tensor) -> Tensor:
        """Return the nearest point in ball and box; in L1 with a box only a point near it.

        In L1 `x` is pulled into the ball, then clipped: the centre lies in the box, so clipping moves no
        coordinate away from it.
        """
        if self.norm == math.inf:
            reach = self.unit_to_raw(self.eps[:, None])
            return self.clip(torch.clamp(x, self.centre - reach, self.centre + reach))
        delta = self.raw_to_unit(self._moved(x))
        if self.norm == 1:
            delta = shrink_l1(delta, self.eps)
        elif self.lower is None:
            delta = shrink_l2(delta, self.eps)
        else:
            delta = self._shrink_l2_in_box(delta)
        return self.clip(self.centre + self.unit_to_raw(delta))

    def _shrink_l2_in_box(self, delta: Tensor) -> Tensor:
        toward = delta.sign()
        room = self._room(toward)
        length = delta.abs().minimum(room)
        over = torch.nonzero(torch.linalg.vector_norm(length, dim=1) > self.eps)[:, 0]
        if len(over):
            length[over] = _fill_l2(delta[over].abs(), room[over], self.eps[over])
        return toward * length

    def _room(self, toward: Tensor) -> Tensor:
        """Return how far each feature can go in the direction of a sign before it meets the box."""
        room = torch.full_like(toward, torch.inf)
        if self.lower is not None and self.upper is not None:
            edge = torch.where(toward > 0, self.upper, self.lower)
            room = self.raw_to_unit(self._moved(edge)).abs()
        return torch.where(toward == 0, 0, room)

    def _moved(self, x: Tensor) -> Tensor:
        """Return how far each feature is from the clean row."""
        return self._present(x - self.centre)

    def _present(self, difference: Tensor) -> Tensor:
        return difference if self.missing is None else difference.masked_fill(self.missing, 0)

    def clip(self, x: Tensor) -> Tensor:
        """Return `x` clipped to the box."""
        return x if self.lower is None else torch.clamp(x, self.lower, self.upper)

    def extent(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest value of each feature in ball and box, each of shape (n, d)."""
        reach = self.unit_to_raw(self.eps[:, None].expand_as(self.centre))
        return self.clip(self.centre - reach), self.clip(self.centre + reach)

    def distance(self, x: Tensor) -> Tensor:
        """Return ||(x - centre) / scale||_norm of each row."""
        return torch.linalg.vector_norm(self.raw_to_unit(self._moved(x)), ord=self.norm, dim=1)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the step of length 1 in the ball's norm along which the function grows fastest.

        In L1 the step is shared by the 5% of the features with the largest gradient, as a step in one
        feature alone needs too many of them (Tramer & Boneh 2019). Features that stand at the edge
        of the box and would leave it take no part.
        """
        gradient = self._present(self.unit_to_raw(gradient))
        if self.norm == math.inf:
            return self.unit_to_raw(gradient.sign())
        if self.lower is not None and self.upper is not None:
            stuck = ((gradient > 0) & (x >= self.upper)) | ((gradient < 0) & (x <= self.lower))
            gradient = gradient.masked_fill(stuck, 0)
        if self.norm == 2:
            # Dividing by the largest entry first keeps the squares of tiny gradients from underflowing.
            gradient = gradient / _positive(gradient.abs().amax(dim=1, keepdim=True))
            return self.unit_to_raw(
                gradient / _positive(torch.linalg.vector_norm(gradient, dim=1, keepdim=True))
            )
        n_moved = max(1, gradient.shape[1] // 20)
        top = gradient.abs().topk(n_moved, dim=1)
        signs = gradient.gather(1, top.indices).sign()
        step = torch.zeros_like(gradient).scatter_(1, top.indices, signs)
        return self.unit_to_raw(step / _positive(step.abs().sum(dim=1, keepdim=True)))

    def furthest(self, gradient: Tensor) -> Tensor:
        """Return the point of ball and box where a linear function with this gradient is largest.

        It is exact in all three norms: the corner in L-infinity, the gradient stretched and clipped until
        it is eps long in L2, and in L1 the steepest features filled up one after the other.
        """
        gradient = self._present(self.unit_to_raw(gradient))
        toward = gradient.sign()
        fill = {math.inf: _fill_linf, 2: _fill_l2, 1: _fill_l1}[self.norm]
        length = fill(gradient.abs(), self._room(toward), self.eps)
        return self.clip(self.centre + self.unit_to_raw(toward * length))

    def dual_length(self, gradient: Tensor) -> Tensor:
        """Return how much the function grows per unit of distance along the steepest direction."""
        order = {math.inf: 1, 2: 2, 1: math.inf}[self.norm]
        return torch.linalg.vector_norm(self._present(self.unit_to_raw(gradient)), ord=order, dim=1)

    def spread(self, u: Tensor, *, inward: bool = False) -> Tensor:
        """Turn standard uniform (L-infinity) or normal numbers (n, d) into points spread over the ball.

        With `inward`, features at the edge of the box move away from it instead of staying there.
        """
        if self.norm == math.inf:
            direction = 2 * u - 1
        else:
            direction = u / _positive(torch.linalg.vector_norm(u, ord=self.norm, dim=1, keepdim=True))
        if inward:
            direction = torch.where(self._room(direction.sign()) > 0, direction, -direction)
        return self.project(self.centre + self.unit_to_raw(direction * self.eps[:, None]))

    def unit_to_raw(self, delta: Tensor) -> Tensor:
        """Return a difference given in units of `scale` in those of the data."""
        return delta if self.scale is None else delta * self.scale

    def raw_to_unit(self, delta: Tensor) -> Tensor:
        """Return a difference given in units of the data in those of `scale`."""
        return delta if self.scale is None else delta / self.scale


def shrink_l2(delta: Tensor, eps: Tensor) -> Tensor:
    """Return the nearest point to each row of `delta` with Euclidean length at most `eps`."""
    length = torch.linalg.vector_norm(delta, dim=1)
    return delta * (eps / _positive(length)).clamp(max=1)[:, None]


def shrink_l1(delta: Tensor, eps: Tensor) -> Tensor:
    """Return the nearest point to each row with L1 norm at most `eps` (Duchi et al. 2008, figure 1)."""
    magnitude = delta.abs()
    ranked = magnitude.sort(dim=1, descending=True).values
    excess = ranked.cumsum(dim=1) - eps[:, None]
    counts = torch.arange(1, delta.shape[1] + 1, device=delta.device, dtype=delta.dtype)
    n_kept = (ranked * counts > excess).sum(dim=1, keepdim=True).clamp(min=1)
    threshold = (excess.gather(1, n_kept - 1) / n_kept).clamp(min=0)
    return delta.sign() * (magnitude - threshold).clamp(min=0)


def _fill_linf(slope: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """Return how far each feature goes, at most `room`, to gain the most from `slope` within eps."""
    return room.minimum(eps[:, None])


def _fill_l2(slope: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """Stretch `slope` until it is eps long; features that fill their room stay there for good."""
    slope = slope / _positive(slope.amax(dim=1, keepdim=True))
    full = room <= 0
    for _ in range(slope.shape[1] + 1):
        spent = torch.where(full, room, 0).square().sum(dim=1)
        free = torch.where(full, 0, slope)
        left = (eps.square() - spent).clamp(min=0).sqrt()
        stretched = free * (left / _positive(torch.linalg.vector_norm(free, dim=1)))[:, None]
        over = ~full & (stretched >= room)
        if not over.any():
            break
        full |= over
    return torch.where(full, room, stretched)


def _fill_l1(slope: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """Fill the rooms of the features, steepest first, until eps is spent."""
    order = slope.argsort(dim=1, descending=True, stable=True)
    room = room.gather(1, order).minimum(eps[:, None])
    spent_before = room.cumsum(dim=1) - room
    length = room.minimum((eps[:, None] - spent_before).clamp(min=0))
    return torch.zeros_like(slope).scatter(1, order, length)


def _positive(length: Tensor) -> Tensor:
    return length.clamp(min=torch.finfo(length.dtype).tiny)
