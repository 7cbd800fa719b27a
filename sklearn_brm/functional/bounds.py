"""What no attack inside a ball can bring about: lower bounds of sums of a module's outputs.

Linear bounds are carried from the outputs back to the rows, through the layers of `functional.layers` (CROWN:
Zhang, Weng, Chen, Hsieh, Daniel, "Efficient neural network robustness certification with general activation
functions", NeurIPS 2018), and are then minimised over the ball exactly.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from .attacks import Ball
from .layers import (
    Affine,
    Concat,
    Layer,
    LogSoftmax,
    Rectifier,
    RowNorm,
    TwoColumns,
    UnboundedError,
    first_touch,
    layers_of,
    lowest_sum,
)

__all__ = ["LinearBounds", "margin_bounds"]

_Answer = TypeVar("_Answer")
_INPUT = -1
# By how much of its way a tangent is moved in the first step; the steps become shorter in a line.
_LONGEST_STEP = 0.5
_Normed = tuple[RowNorm, Affine, Rectifier, Affine]


class LinearBounds:
    """Bounds of everything that a module computes on balls around rows.

    Parameters
    ----------
    module : Module
        A layer, or a `Sequential` of them.
    ball : Ball
        In the precision of the module. Missing values do not move.
    n_steps : int
        How often the tangents of rectifiers that bend are moved, for each sum of outputs by itself, to where
        the bound is higher (alpha-CROWN: Xu, Zhang, Wang, Wang, Jana, Lin, Hsieh, "Fast and complete", ICLR
        2021). Any tangent bounds, and the best counts: the bounds only become tighter.

    Raises
    ------
    UnboundedError
        If no bounds are known of a layer; the message names it, and the step it comes from.
    """

    ball: Ball
    n_steps: int
    box: tuple[Tensor, Tensor]
    last: int

    def __init__(self, module: nn.Module, ball: Ball, n_steps: int = 0):
        self.ball, self.n_steps = ball, n_steps
        self.box = ball.extent()
        # Each entry is a layer with the entries that it reads, or None where these are put side by side.
        self._nodes: list[tuple[Layer | None, list[int]]] = []
        self._intervals: dict[int, tuple[Tensor, Tensor]] = {_INPUT: self.box}
        self.last = self._add(module, _INPUT)

    def lower(self, A: Tensor) -> Tensor:
        """Return lower bounds of ``A @ module(x)`` over each ball: (n, k) for A of shape (n, k, m)."""
        return self._lower(self.last, A)

    def inputs_of(self, kind: type[nn.Module]) -> list[tuple[Tensor, Tensor]]:
        """Return the bounds of what each layer of a kind takes in."""
        return [self.interval(sources[0]) for layer, sources in self._nodes if isinstance(layer, kind)]

    def interval(self, node: int | None = None) -> tuple[Tensor, Tensor]:
        """Return lower and upper bounds of what a node, by default the last one, puts out."""
        node = self.last if node is None else node
        if node not in self._intervals:
            self._intervals[node] = self._interval(node)
        return self._intervals[node]

    def _add(self, module: nn.Module, source: int) -> int:
        for layer in layers_of(module):
            if isinstance(layer, Concat):
                self._nodes.append((None, [self._add(part, source) for part in layer.parts]))
            elif isinstance(layer, Layer):
                self._nodes.append((layer, [source]))
            else:
                raise UnboundedError(_nothing_known(layer))
            source = len(self._nodes) - 1
        return source

    def _interval(self, node: int) -> tuple[Tensor, Tensor]:
        layer, sources = self._nodes[node]
        ends = [self.interval(source) for source in sources]
        if layer is None:
            low, high = (torch.cat(parts, dim=1) for parts in zip(*ends))
            return low, high
        low, high = self._ask(layer, layer.interval, *ends[0])
        # By itself a monotone layer is exact: only sums gain from what is known of their terms.
        if isinstance(layer, Affine):
            unit = torch.eye(low.shape[1], dtype=low.dtype, device=low.device)[None]
            low = torch.maximum(low, self._lower(node, unit))
            high = torch.minimum(high, -self._lower(node, -unit))
        return low, high

    def _lower(self, last: int, A: Tensor) -> Tensor:
        """Return the least value of ``A @ output`` of the node `last` that is found not to be undercut."""
        _, lowest = self._carried_back(last, A, {})
        layers = [layer for layer, _ in self._nodes[:last]]
        bends = [n for n, layer in enumerate(layers) if isinstance(layer, Rectifier) and layer.power >= 1]
        if not (self.n_steps and bends):
            return lowest
        touches = {node: self._first_touch(node, lowest.shape) for node in bends}
        for step in range(self.n_steps):
            with torch.enable_grad():
                carried, found = self._carried_back(last, A, touches)
                if not carried.requires_grad:
                    # Nothing is carried past a layer whose bounds are constants.
                    return lowest
                slopes = torch.autograd.grad(carried.sum(), list(touches.values()), materialize_grads=True)
            lowest = torch.fmax(lowest, found.detach())
            length = _LONGEST_STEP * (1 - step / self.n_steps)
            for touch, slope in zip(touches.values(), slopes):
                touch.data.add_(length * slope.sign()).clamp_(0, 1)
        return lowest

    def _first_touch(self, node: int, shape: torch.Size) -> Tensor:
        layer, (source,) = self._nodes[node]
        touch = first_touch(*self.interval(source), cast(Rectifier, layer).power)
        return touch[:, None].repeat(1, shape[1], 1).requires_grad_()

    def _carried_back(self, last: int, A: Tensor, touches: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Carry A back from the node `last`, each node after all that read it, and minimise over the ball.

        Where all stands on one node, what it puts out by itself is a bound too, and at times the better one.

        Returns
        -------
        lowest, best : Tensors of shape (n, k)
            The bound over the ball, and the best of all.
        """
        waiting: dict[int, Tensor] = {last: A}
        constant: Any = 0.0
        found: list[Tensor] = []
        for node in range(last, _INPUT, -1):
            if node not in waiting:
                continue
            A, (layer, sources) = waiting.pop(node), self._nodes[node]
            is_known = node in self._intervals or not isinstance(layer, Affine)
            if not waiting and node != last and is_known:
                found.append(constant + lowest_sum(A, *self.interval(node)))
            if layer is None:
                widths = [self.interval(source)[0].shape[1] for source in sources]
                terms: list[tuple[int, Tensor | None]] = list(zip(sources, A.split(widths, dim=2)))
            else:
                touch = [touches[node]] if node in touches else []
                A_in, more = self._ask(layer, layer.relax, A, *self.interval(sources[0]), *touch)
                constant, terms = constant + more, [(sources[0], A_in)]
            for source, part in terms:
                if part is not None:
                    waiting[source] = waiting[source] + part if source in waiting else part
        lowest: Tensor = constant + (self._lowest(waiting[_INPUT]) if _INPUT in waiting else 0.0)
        # Missing values have no bounds.
        return lowest, reduce(torch.fmax, found, lowest)

    def _lowest(self, A: Tensor) -> Tensor:
        """Return the least value of ``A @ x`` over the balls."""
        ball, (low, high) = self.ball, (end.nan_to_num(nan=0.0) for end in self.box)
        if ball.norm == math.inf:
            return lowest_sum(A, low, high)
        if len(A) != 1 or A.shape[1] == 1:
            return self._lowest_in_ball(A.expand(len(low), -1, -1))
        # Many sums of the same columns for all rows: box and ball each by itself.
        dual: dict[float, float] = {2: 2, 1: math.inf}
        lengths = torch.linalg.vector_norm(ball.unit_to_raw(A[0]), ord=dual[ball.norm], dim=1)
        in_ball = ball.centre.nan_to_num(nan=0.0) @ A[0].T - ball.eps[:, None] * lengths
        return torch.maximum(in_ball, lowest_sum(A, low, high))

    def _lowest_in_ball(self, A: Tensor) -> Tensor:
        n, k, _ = A.shape
        balls = self.ball.select(torch.arange(n, device=A.device).repeat_interleave(k))
        A = A.reshape(n * k, -1)
        # At the point where it is least, its slope by A is that point.
        moved = (balls.furthest(-A.detach()) - balls.centre).nan_to_num(nan=0.0)
        return ((balls.centre.nan_to_num(nan=0.0) + moved) * A).sum(dim=1).reshape(n, k)

    def _ask(self, layer: Layer, question: Callable[..., _Answer], *arguments: Tensor) -> _Answer:
        try:
            return question(*arguments)
        except UnboundedError as error:
            raise UnboundedError(_nothing_known(layer)) from error


def margin_bounds(module: nn.Module, ball: Ball, y: Tensor, n_steps: int = 0) -> Tensor:
    """Return lower bounds of the score of class y over each other class, for all rows of each ball.

    Parameters
    ----------
    module : Module
        Returns one score per class.
    ball : Ball
    y : Tensor of int of shape (n,)
        The classes.
    n_steps : int
        As in `LinearBounds`.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Infinity at the place of y.
    """
    layers = list(layers_of(module))
    # What takes the same from every score does not change a difference.
    while isinstance(layers[-1], LogSoftmax):
        layers.pop()
    with torch.no_grad():
        if hasattr(layers[-1], "contests"):
            # Who wins each contest wins.
            margins = cast(Any, layers.pop()).contests(y, ball.centre)
        else:
            n_classes = nn.Sequential(*layers)(ball.centre[:1]).shape[1]
            unit = torch.eye(n_classes, dtype=ball.centre.dtype, device=ball.centre.device)
            # Row j of the matrix of class y takes score j from score y.
            margins = (unit[:, None] - unit)[y]
        lower = LinearBounds(nn.Sequential(*layers), ball, n_steps).lower(margins)
        scaled = _homogeneous(layers, ball, margins, n_steps)
        lower = lower if scaled is None else torch.maximum(lower, scaled)
        return lower.scatter(1, y[:, None], torch.inf)


def _homogeneous(layers: Sequence[nn.Module], ball: Ball, margins: Tensor, n_steps: int) -> Tensor | None:
    """Return bounds where rows are divided by their norm in front of units without bias, else None.

    With u = W x and r = |x| the scores are ``V relu(u / r)^n + b = (V relu(u)^n + b r^n) / r^n``: the norm
    scales all units alike, and need not be bounded unit by unit.
    """
    pattern = [RowNorm, Affine, Rectifier, Affine]
    at = next((i for i, layer in enumerate(layers) if isinstance(layer, RowNorm)), None)
    if at is None or [type(layer) for layer in layers[at : at + 4]] != pattern:
        return None
    norm, units, rectifier, head = cast(_Normed, tuple(layers[at : at + 4]))
    behind = cast(Sequence[TwoColumns], layers[at + 4 :])
    if not (
        units.bias is units.shift is head.shift is None
        and [type(layer) for layer in behind] in ([], [TwoColumns])
    ):
        return None
    for layer in behind:
        margins, _ = layer.relax(margins, head.weight[:1], head.weight[:1])
    bounds = LinearBounds(nn.Sequential(*layers[:at], units, rectifier), ball, n_steps)
    smallest, largest = norm.norms(*LinearBounds(nn.Sequential(*layers[:at]), ball).interval())
    offset = torch.zeros_like(margins[..., 0]) if head.bias is None else margins @ head.bias
    powers = [end**rectifier.power for end in (smallest, largest)]
    scaled = bounds.lower(margins @ head.weight.T) + torch.minimum(*(offset * power for power in powers))
    # A row of zeros has nothing to be divided by.
    scaled = torch.where(smallest > 0, scaled, -torch.inf)
    return torch.where(scaled > 0, scaled / powers[1], scaled / powers[0])


def _nothing_known(layer: nn.Module) -> str:
    step = getattr(layer, "step", "")
    where = f"step {step!r}" if step else "the estimator"
    return f"{where} becomes the layer {type(layer).__name__}, of which no bounds are known"
