"""The least margin of a network of one hidden layer of plain rectifiers over a box, exactly.

A rectifier is a linear function of its input and of one bit, so that the least margin is the answer of a
mixed integer linear programme (Tjeng, Xiao, Tedrake, "Evaluating robustness of neural networks with mixed
integer programming", ICLR 2019), which HiGHS solves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, sparse
from torch import nn

from .layers import Linear, Rectifier, layers_of

__all__ = ["ReluNetwork", "as_affine", "least_margin"]

# scipy's status of a programme that has no solution, and of one that was solved.
_INFEASIBLE, _SOLVED = 2, 0


@dataclass(frozen=True)
class ReluNetwork:
    """Scores ``V @ relu(W @ x + b) + c``.

    Attributes
    ----------
    W : ndarray of shape (n_units, n_features)
    b : ndarray of shape (n_units,)
    V : ndarray of shape (n_classes, n_units)
    c : ndarray of shape (n_classes,)
    """

    W: np.ndarray
    b: np.ndarray
    V: np.ndarray
    c: np.ndarray

    @classmethod
    def of(cls, module: nn.Module, n_features: int) -> "ReluNetwork | None":
        """Return the network that a module of linear layers and one plain rectifier is, None for others."""
        layers = list(layers_of(module))
        bends = [i for i, layer in enumerate(layers) if not isinstance(layer, Linear)]
        if len(bends) != 1 or not isinstance(layers[bends[0]], Rectifier) or layers[bends[0]].power != 1:
            return None
        W, b = as_affine(layers[: bends[0]], n_features)
        V, c = as_affine(layers[bends[0] + 1 :], len(b))
        return cls(W, b, V, c)


def least_margin(
    network: ReluNetwork,
    direction: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    below: float = np.inf,
    time_limit: float | None = None,
) -> tuple[float, np.ndarray | None]:
    """Return a lower bound of ``direction @ scores`` over a box, and a point near it, if one was found.

    Parameters
    ----------
    network : ReluNetwork
    direction : ndarray of shape (n_classes,)
    lower, upper : ndarrays of shape (n_features,)
    below : float
        Only smaller values are of interest: where there is none, `below` is returned, which is quicker.
    time_limit : float or None
        Seconds. The bound holds whenever it ends.

    Returns
    -------
    bound : float
    x : ndarray of shape (n_features,) or None
    """
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    centre, reach = network.W @ middle + network.b, np.abs(network.W) @ half
    low, high = centre - reach, centre + reach
    weights = direction @ network.V
    active, bends = (low >= 0) & (high > 0), (low < 0) & (high > 0)
    n, m = network.W.shape[1], int(bends.sum())
    # The variables: the features, the outputs of the units that may bend, and their bits.
    linear = weights[active] @ network.W[active]
    constant = direction @ network.c + weights[active] @ network.b[active]
    objective = np.concatenate([linear, weights[bends], np.zeros(m)])
    W, b, unit, none = network.W[bends], network.b[bends], sparse.eye(m), sparse.coo_matrix((m, m))
    bits_high, bits_low = sparse.diags(high[bends]), sparse.diags(low[bends])
    constraints = []
    if m:
        constraints = [
            optimize.LinearConstraint(sparse.hstack([-W, unit, none]).tocsr(), b, np.inf),
            optimize.LinearConstraint(
                sparse.hstack([sparse.coo_matrix((m, n)), unit, -bits_high]).tocsr(), -np.inf, 0
            ),
            optimize.LinearConstraint(sparse.hstack([-W, unit, -bits_low]).tocsr(), -np.inf, b - low[bends]),
        ]
    if np.isfinite(below):
        constraints.append(optimize.LinearConstraint(objective[None], -np.inf, below - constant))
    result = optimize.milp(
        objective,
        constraints=constraints,
        integrality=np.concatenate([np.zeros(n + m), np.ones(m)]),
        bounds=optimize.Bounds(
            np.concatenate([lower, np.zeros(2 * m)]), np.concatenate([upper, high[bends], np.ones(m)])
        ),
        options={} if time_limit is None else {"time_limit": float(time_limit)},
    )
    if result.status == _INFEASIBLE:
        return below, None
    x = None if result.x is None else np.clip(result.x[:n], lower, upper)
    bound = -np.inf if result.mip_dual_bound is None else result.mip_dual_bound
    if result.status == _SOLVED and not m:
        bound = result.fun
    return float(bound + constant), x


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
            A, _ = layer.relax(A, x, x)
    return A[0].numpy().astype(float), offset[0].numpy().astype(float)
