"""The least margin of a network of plain rectifiers over a box, exactly.

A rectifier is a linear function of its input and of one bit, so that the least margin is the answer of a
mixed integer linear programme (Tjeng, Xiao, Tedrake, "Evaluating robustness of neural networks with mixed
integer programming", ICLR 2019), which HiGHS solves. Only units whose sign is not known need a bit.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from scipy import optimize, sparse
from torch import nn

from .attacks import Ball
from .bounds import LinearBounds
from .layers import Affine, Linear, Rectifier, layers_of, sequence

__all__ = ["ReluNetwork", "as_affine", "least_margin"]

# scipy's status of a programme that has no solution.
_INFEASIBLE = 2
# Seconds that the solver gets, however late it is.
_LEAST_TIME = 1e-3


@dataclass(frozen=True)
class ReluNetwork:
    """Linear functions ``W @ h + b`` one after the other, with rectifiers between them.

    Attributes
    ----------
    weights : list of ndarray of shape (n_outputs, n_inputs)
    biases : list of ndarray of shape (n_outputs,)
    """

    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]

    @classmethod
    def of(cls, module: nn.Module, n_features: int) -> "ReluNetwork | None":
        """Return the network that a module of linear layers and plain rectifiers is, None for others."""
        layers = list(layers_of(module))
        bends = [i for i, layer in enumerate(layers) if not isinstance(layer, Linear)]
        if not bends or not all(isinstance(layers[i], Rectifier) and layers[i].power == 1 for i in bends):
            return None
        weights: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        for start, end in zip([-1, *bends], [*bends, len(layers)]):
            weight, bias = as_affine(layers[start + 1 : end], len(biases[-1]) if biases else n_features)
            weights.append(weight)
            biases.append(bias)
        return cls(weights, biases)

    def intervals(
        self, lower: np.ndarray, upper: np.ndarray, n_steps: int = 0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return bounds of what each layer of rectifiers takes in over a box, by `LinearBounds`."""
        layers = [Affine(*map(torch.from_numpy, (W.T, b))) for W, b in zip(self.weights, self.biases)]
        between = [layer for affine in layers[:-1] for layer in (affine, Rectifier())]
        low, high = (torch.from_numpy(edge[None].astype(float)) for edge in (lower, upper))
        ball = Ball((low + high) / 2, low.new_tensor([math.inf]), lower=low, upper=high)
        with torch.no_grad():
            ends = LinearBounds(sequence(*between), ball, n_steps).inputs_of(Rectifier)
        return [(least[0].numpy(), largest[0].numpy()) for least, largest in ends]


def least_margin(
    network: ReluNetwork,
    direction: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    intervals: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    below: float = np.inf,
    time_limit: float | None = None,
) -> tuple[float, np.ndarray | None]:
    """Return a lower bound of ``direction @ scores`` over a box, and a point near it, if one was found.

    Parameters
    ----------
    network : ReluNetwork
    direction : ndarray of shape (n_classes,)
    lower, upper : ndarrays of shape (n_features,)
    intervals : list of pairs of ndarray, or None
        What `ReluNetwork.intervals` returns for the box, if it is known.
    below : float
        Only smaller values are of interest: where there is none, `below` is returned, which is quicker.
    time_limit : float or None
        Seconds. The bound holds whenever it ends.

    Returns
    -------
    bound : float
    x : ndarray of shape (n_features,) or None
    """
    programme = _Programme(lower, upper)
    for ends, W, b in zip(intervals or network.intervals(lower, upper), network.weights, network.biases):
        programme.rectify(*ends, W, b)
    return programme.minimise(
        direction @ network.weights[-1], direction @ network.biases[-1], below, time_limit
    )


@dataclass
class _Programme:
    """Variables between bounds, and what the layers passed so far make of them.

    The variables are the features and, for each unit that may bend, its output and its bit. The outputs of a
    layer are ``matrix @ variables + offset``.
    """

    lower: np.ndarray
    upper: np.ndarray
    # Rows of a sparse matrix, and between what their products lie.
    constraints: list[tuple[Any, Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n_features = len(self.lower)
        self.matrix, self.offset = np.eye(self.n_features), np.zeros(self.n_features)
        self.is_whole = np.zeros(self.n_features)

    def rectify(self, low: np.ndarray, high: np.ndarray, W: np.ndarray, b: np.ndarray) -> None:
        """Put a linear layer behind the present one, and rectifiers behind it that see [low, high]."""
        matrix, offset = W @ self.matrix, W @ self.offset + b
        bends, is_off = np.flatnonzero((low < 0) & (high > 0)), high <= 0
        m, n = len(bends), matrix.shape[1]
        low, high = low[bends], high[bends]
        inputs, unit, none = sparse.csr_matrix(matrix[bends]), sparse.eye(m), sparse.coo_matrix((m, n))
        for row, least, most in [
            # An output is at least its input, at most nothing if its bit is 0, at most its input if it is 1.
            ([-inputs, unit, sparse.coo_matrix((m, m))], offset[bends], np.inf),
            ([none, unit, -sparse.diags(high)], -np.inf, 0),
            ([-inputs, unit, -sparse.diags(low)], -np.inf, offset[bends] - low),
        ]:
            self.constraints.append((sparse.hstack(row), least, most))
        self.lower = np.concatenate([self.lower, np.zeros(2 * m)])
        self.upper = np.concatenate([self.upper, high, np.ones(m)])
        self.is_whole = np.concatenate([self.is_whole, np.zeros(m), np.ones(m)])
        matrix[is_off], offset[is_off] = 0, 0
        matrix[bends], offset[bends] = 0, 0
        self.matrix, self.offset = np.hstack([matrix, np.zeros((len(matrix), 2 * m))]), offset
        self.matrix[bends, n + np.arange(m)] = 1

    def minimise(
        self, direction: np.ndarray, constant: float, below: float, time_limit: float | None
    ) -> tuple[float, np.ndarray | None]:
        """Return the bound of ``direction @ outputs + constant`` and the point of `least_margin`.

        First as if bits were numbers: when its time is over, the solver tells no bound but where it has come
        upon a point.
        """
        objective, left_over = direction @ self.matrix, cast(float, constant + direction @ self.offset)
        constraints = [
            optimize.LinearConstraint(_widened(row, len(objective)), least, most)
            for row, least, most in self.constraints
            if row.shape[0]
        ]
        if np.isfinite(below):
            constraints.append(optimize.LinearConstraint(objective[None], -np.inf, below - left_over))
        bound, x, ends = -np.inf, None, math.inf if time_limit is None else time.monotonic() + time_limit
        for is_whole in (np.zeros_like(self.is_whole), self.is_whole)[: 1 + self.is_whole.any()]:
            left = max(ends - time.monotonic(), _LEAST_TIME)
            result = optimize.milp(
                objective,
                constraints=constraints,
                integrality=is_whole,
                bounds=optimize.Bounds(self.lower, self.upper),
                options={} if math.isinf(left) else {"time_limit": left},
            )
            if result.status == _INFEASIBLE:
                return below, None
            x = None if result.x is None else np.clip(result.x, self.lower, self.upper)[: self.n_features]
            reached = result.mip_dual_bound if is_whole.any() else result.fun
            bound = bound if reached is None else max(bound, float(reached))
        return bound + left_over, x


def as_affine(layers: Sequence[nn.Module], n_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix (n_outputs, n_inputs) and offset of linear layers one after the other."""
    with torch.no_grad():
        like = next((buffer for layer in layers for buffer in layer.buffers()), torch.zeros(0))
        dtype = like.dtype if like.is_floating_point() else torch.float64
        zero = torch.zeros(1, n_inputs, dtype=dtype)
        offset = nn.Sequential(*layers)(zero)
        A, at = torch.eye(offset.shape[1], dtype=dtype)[None], [zero]
        for layer in layers:
            at.append(layer(at[-1]))
        for layer, x in zip(reversed(layers), reversed(at[:-1])):
            A, _ = cast(Linear, layer).relax(A, x, x)
    return A[0].numpy().astype(float), offset[0].numpy().astype(float)


def _widened(matrix: Any, n: int) -> Any:
    """Return a sparse matrix of n columns: zeros for the variables that came later."""
    return sparse.hstack([matrix, sparse.coo_matrix((matrix.shape[0], n - matrix.shape[1]))]).tocsr()
