"""Winner-take-all local learning: the forward map, the update rules and their convergence tests.

Symbols are those of Krotov & Hopfield (2019), doi 10.1073/pnas.1820458116: weights ``W`` of shape
(n_units, n_features), Lebesgue norm ``p``, radius ``R``, rank ``k`` of the inhibited unit, inhibition
``delta``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .rectifier import rectify

__all__ = [
    "PlasticLayer",
    "Rule",
    "converged_units",
    "diverged_units",
    "forward",
    "lebesgue_norms",
    "minibatch_step",
    "power_weights",
    "row_scales",
    "sample_step",
    "scale_to_radius",
    "soft_step",
]

# Entries handled at a time on a CPU: the temporaries stay in its cache and out of the peak memory.
_BLOCK_ENTRIES = 2**18


def lebesgue_norms(X: Tensor, p: float) -> Tensor:
    """Return the p-norm of each row, shape (n, 1); rows of zeros have norm 0 and a gradient of 0."""
    if X.requires_grad:
        # The graph keeps the temporaries in any case.
        return _norms_of_block(X, p)
    norms = X.new_empty(len(X), 1)
    for block, place in _blocks(X, norms):
        # A list of small results, each allocated amid freed temporaries, would fragment the memory.
        place.copy_(_norms_of_block(block, p))
    return norms


def _blocks(X: Tensor, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Yield the rows of `X`, a block at a time, each with the same rows of the `others`."""
    n_rows = max(_BLOCK_ENTRIES // X.shape[1], 1) if X.device.type == "cpu" else max(len(X), 1)
    return zip(*(tensor.split(n_rows) for tensor in (X, *others)))


def _norms_of_block(X: Tensor, p: float) -> Tensor:
    # Scaled by their largest entry rows cannot overflow. The scale needs no gradient: the result does not
    # depend on it.
    sizes = X.abs()
    largest = sizes.detach().amax(dim=1, keepdim=True)
    scaled = sizes / largest.masked_fill(largest == 0, 1)
    return scaled.pow(p).sum(dim=1, keepdim=True).clamp(min=1).pow(1 / p) * largest


def row_scales(X: Tensor, p: float) -> Tensor:
    """Return 1 / p-norm of each row, shape (n, 1), and 1 for rows of zeros."""
    norms = lebesgue_norms(X, p)
    return norms.masked_fill(norms == 0, 1).reciprocal()


def scale_to_radius(W: Tensor, p: float, R: float) -> Tensor:
    """Scale the rows of `W` in place to the p-norm `R`; rows of zeros stay."""
    return W.mul_(row_scales(W, p) * R)


def power_weights(W: Tensor, p: float) -> Tensor:
    """Return ``sign(W) |W|^(p-1)``, the factor of the input in the overlap."""
    if p == 2:
        return W
    return (W.abs() if p == 3 else W.abs().pow_(p - 2)).mul_(W)


def forward(
    X: Tensor, A: Tensor, *, p: float, power: float | None, normalize: bool, out: Tensor | None = None
) -> Tensor:
    """Return ``relu(h)^power``, or the bare overlaps ``h`` for ``power=None``.

    Parameters
    ----------
    X : Tensor of shape (n, n_features)
    A : Tensor of shape (n_units, n_features)
        The weights after `power_weights`.
    p : float
        The norm by which rows are divided where `normalize` is true.
    power : float or None
    normalize : bool
    out : Tensor of shape (n, n_units), optional
        Where to write the result, with nothing else allocated. There is no gradient then.

    Returns
    -------
    Tensor of shape (n, n_units)
    """
    h = torch.mm(X, A.T, out=out)
    if normalize:
        # Scaling the product by row is the same as scaling the input, without a copy of the input.
        h = torch.mul(h, row_scales(X, p), out=out)
    if power is None:
        return h
    return rectify(h, power) if out is None else h.relu_().pow_(power)


@dataclass(frozen=True)
class Rule:
    """Constants of the learning rule; `all_ranks` inhibits ranks 2..k in place of rank k alone.

    The soft rule reads R and its inverse temperature t, the hard ones all but t.
    """

    R: float = 1.0
    k: int = 2
    delta: float = 0.4
    all_ranks: bool = False
    t: float = 1.0

    def strengths(self, n_units: int) -> list[float]:
        """Return ``g`` of ranks 1..k, k clipped to the number of units: a lone unit is never inhibited."""
        k = min(self.k, n_units)
        inhibited = range(1, k) if self.all_ranks else range(max(k - 1, 1), k)
        return [1.0] + [-self.delta if rank in inhibited else 0.0 for rank in range(1, k)]


class PlasticLayer:
    """Weights of a layer in training, beside their powers and norms, kept in step row by row.

    Parameters
    ----------
    W : Tensor of shape (n_units, n_features)
        Changed in place.
    p : float
    product_dtype : torch.dtype, optional
        Precision of the matrix products, by default that of `W`.
    """

    product_dtype: torch.dtype

    def __init__(self, W: Tensor, p: float, *, product_dtype: torch.dtype | None = None):
        self.W = W
        self.p = p
        self.product_dtype = product_dtype or W.dtype
        self._memory: dict[str, Tensor] = {}
        self._inverse_norms: Tensor | None = None
        self.refresh()

    def refresh(self) -> None:
        """Compute the powers anew after `W` was changed from outside."""
        self._inverse_norms = None
        if self.p == 2 and self.product_dtype == self.W.dtype:
            self.A = self.W
            return
        self.A = torch.empty_like(self.W, dtype=self.product_dtype)
        for W, A in _blocks(self.W, self.A):
            A.copy_(power_weights(W, self.p))

    def state(self) -> dict[str, Tensor | None]:
        """Return the weights and what is kept in step with them, not copied."""
        return {"W": self.W, "A": self.A, "inverse_norms": self._inverse_norms}

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned: powers and norms computed anew might differ in their last bit."""
        self.W.copy_(state["W"])
        self.A.copy_(state["A"])
        norms = state["inverse_norms"]
        self._inverse_norms = None if norms is None else norms.to(self.W)

    @property
    def inverse_norms(self) -> Tensor:
        """1 / p-norm of each unit, shape (n_units, 1): computed when first asked for, then kept in step."""
        if self._inverse_norms is None:
            self._inverse_norms = row_scales(self.W, self.p)
        return self._inverse_norms

    def overlaps(self, X: Tensor) -> Tensor:
        """Return ``h = X A^T`` of shape (n, n_units), which the next call overwrites."""
        out = self._room("overlaps", len(X), len(X), len(self.A), self.product_dtype)
        return torch.mm(X.to(self.product_dtype), self.A.T, out=out)

    def zeros(self, n_rows: int, *, at_most: int) -> Tensor:
        """Return zeros of shape (n_rows, n_features); the next call overwrites them.

        No call asks for more than `at_most` rows.
        """
        at_most = min(at_most, len(self.W))
        return self._room("zeros", n_rows, at_most, self.W.shape[1], self.W.dtype).zero_()

    def _room(self, name: str, n_rows: int, at_most: int, n_columns: int, dtype: torch.dtype) -> Tensor:
        """Return memory used again: a fresh block per update costs page faults and fragments the memory."""
        room = self._memory.get(name)
        if room is None or len(room) < n_rows:
            room = self._memory[name] = self.W.new_empty(at_most, n_columns, dtype=dtype)
        return room[:n_rows]

    def add_(self, rows: Tensor, change: Tensor, factor: Tensor) -> None:
        """Add `factor` times `change` to distinct `rows` of the weights; compute their powers anew."""
        for step, block in _blocks(change, rows):
            # Several times as fast as indexing with a tensor.
            W = self.W.index_select(0, block).addcmul_(step, factor)
            self.W.index_copy_(0, block, W)
            if self.A is not self.W:
                self.A.index_copy_(0, block, power_weights(W, self.p).to(self.product_dtype))
            if self._inverse_norms is not None:
                self._inverse_norms.index_copy_(0, block, row_scales(W, self.p))


def minibatch_step(layer: PlasticLayer, X: Tensor, rule: Rule, rate: float) -> tuple[Tensor, Tensor]:
    """Do one update with the minibatch rule: the largest change of any weight is ``rate * R``.

    Units are ranked by their overlap with each row; the increments ``g (R^p v - h W)`` of all rows are
    summed, divided by the largest absolute one and multiplied by ``rate * R``. At most k units change per
    row, so only these rows of the weights are read and written.

    Parameters
    ----------
    layer : PlasticLayer
    X : Tensor of shape (n, n_features)
    rule : Rule
    rate : float

    Returns
    -------
    overlap : Tensor of shape (n,)
        Overlap of each row with its winner before the update.
    winner : Tensor of shape (n,)
        The winning unit of each row.
    """
    strengths = rule.strengths(len(layer.W))
    h, units = layer.overlaps(X).topk(len(strengths), dim=1)
    h = h.to(X.dtype)
    rows, change, largest = _summed_increments(layer, X, h, units, strengths, rule.R)
    layer.add_(rows, change, _step_size(largest, layer, rule, rate, len(X)))
    return h[:, 0], units[:, 0]


def _summed_increments(
    layer: PlasticLayer, X: Tensor, h: Tensor, units: Tensor, strengths: list[float], R: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the units that a batch changes, their summed increments, and the largest absolute one of these.

    Increments have the shape (n_changed, n_features).
    """
    ranks = [rank for rank, g in enumerate(strengths) if g != 0]
    rows, slots = _changed_rows(units[:, ranks], len(layer.W))
    change = layer.zeros(len(rows), at_most=max(len(rows), slots.numel()))
    decay = X.new_zeros(len(rows))
    for column, rank in enumerate(ranks):
        change.index_add_(0, slots[:, column], X, alpha=strengths[rank] * R**layer.p)
        decay.index_add_(0, slots[:, column], h[:, rank], alpha=strengths[rank])
    largest = change.new_zeros(())
    for part, block, factor in _blocks(change, rows, decay):
        part.addcmul_(layer.W.index_select(0, block), factor[:, None], value=-1)
        largest = torch.maximum(largest, _largest(part))
    return rows, change, largest


def _largest(change: Tensor) -> Tensor:
    low, high = change.aminmax()
    return torch.maximum(-low, high)


def _step_size(largest: Tensor, layer: PlasticLayer, rule: Rule, rate: float, n_rows: int) -> Tensor:
    """Return the factor of summed increments that makes the `largest` of them ``rate * R``."""
    # Below this floor the increments are rounding noise, which must not be blown up to a full step.
    floor = torch.finfo(largest.dtype).eps * rule.R**layer.p * n_rows
    return rate * rule.R / largest.clamp(min=floor)


def _changed_rows(units: Tensor, n_units: int) -> tuple[Tensor, Tensor]:
    """Return the distinct units, and the place of each entry of `units` among them.

    On an accelerator these are all units: counting the distinct ones would make the host wait for it, and its
    memory is fast enough not to need it.
    """
    if units.device.type == "cpu":
        return torch.unique(units, return_inverse=True)
    return torch.arange(n_units, device=units.device), units


def sample_step(layer: PlasticLayer, X: Tensor, rule: Rule, rate: float) -> tuple[Tensor, Tensor]:
    """Apply the exact sequential rule (eq. 3) to one row of `X` after the other.

    Units are ranked by ``Q = h / <W, W>^((p-1)/p)`` and the increments ``g(Q) (R^p v - h W) / tau`` are added
    with ``1 / tau = rate / R^(p-1)``, which makes the pull towards a row independent of the radius.
    Parameters and returns are those of `minibatch_step`.
    """
    strengths = X.new_tensor(rule.strengths(len(layer.W)))
    inverse_tau = rate / rule.R ** (layer.p - 1)
    seen = [_sample_update(layer, row[None], strengths, rule.R, inverse_tau) for row in X]
    return torch.cat([h for h, _ in seen]), torch.cat([winner for _, winner in seen])


def _sample_update(
    layer: PlasticLayer, row: Tensor, strengths: Tensor, R: float, inverse_tau: float
) -> tuple[Tensor, Tensor]:
    h = layer.overlaps(row)[0].to(row.dtype)
    Q = h * layer.inverse_norms[:, 0] ** (layer.p - 1)
    units = Q.topk(len(strengths)).indices
    g = strengths[:, None] * inverse_tau
    layer.add_(units, R**layer.p * row - h[units, None] * layer.W[units], g)
    return h[units[:1]], units[:1]


def soft_step(layer: PlasticLayer, X: Tensor, rule: Rule, rate: float) -> tuple[Tensor, Tensor]:
    """Do one update with the soft rule (Journé et al., ICLR 2023), in which all units take part.

    With ``y = softmax(t h)`` of the overlaps, the winner's as it is and all others' negative, the increments
    ``y (R^p v - h W)`` of all rows are summed, divided by the largest absolute one and multiplied by ``rate *
    R * |norm / R - 1|^(1/2)`` of each unit, so that a unit at the radius stands still. Published for p = 2.
    Parameters and returns are those of `minibatch_step`.
    """
    products = layer.overlaps(X)
    h = products.to(X.dtype)
    overlap, winner = h.max(dim=1)
    y = (rule.t * h).softmax(dim=1).neg_()
    y.scatter_(1, winner[:, None], -y.gather(1, winner[:, None]))
    change = (y.T.to(products.dtype) @ X.to(products.dtype)).to(X.dtype).mul_(rule.R**layer.p)
    change.addcmul_(layer.W, (y * h).sum(dim=0)[:, None], value=-1)
    distances = (lebesgue_norms(layer.W, layer.p) / rule.R - 1).abs().sqrt()
    layer.W.add_(change.mul_(distances * _step_size(_largest(change), layer, rule, rate, len(X))))
    layer.refresh()
    return overlap, winner


def converged_units(W: Tensor, *, p: float, R: float, tol: float) -> Tensor:
    """Return which units have reached the fixed point ``|W|_p = R`` to a relative `tol`, shape (n_units,)."""
    return (lebesgue_norms(W, p)[:, 0] - R).abs() < tol * R


def diverged_units(W: Tensor, *, p: float, R: float, tol: float) -> Tensor:
    """Return which units went to the wrong attractor: ``mean_i W_i < -R/2`` away from ``|W|_p = R``.

    Without the second condition units of up to ``2^p`` features could be told off that have converged.
    """
    return (W.mean(dim=1) < -R / 2) & ~converged_units(W, p=p, R=R, tol=tol)
