"""The scores of a perceptron at worst in a box around each row, for training: gradients reach its weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .layers import between_lines, rectifier_lines, two_columns
from .rectifier import rectify

__all__ = ["box_around", "worst_scores"]


def box_around(
    X: Tensor, eps: float, low: Tensor | float = -math.inf, high: Tensor | float = math.inf
) -> tuple[Tensor, Tensor]:
    """Return the centres and the half widths of the boxes of what is within `eps` of `X` and in [low, high].

    A row outside [low, high] moves only towards it. Without bounds all boxes are alike, and one row of half
    widths stands for all.
    """
    low, high = (torch.as_tensor(end, dtype=X.dtype, device=X.device) for end in (low, high))
    if (low == -math.inf).all() and (high == math.inf).all():
        return X, X.new_full((1, X.shape[1]), eps)
    lower = torch.minimum(X, torch.maximum(X - eps, low))
    upper = torch.maximum(X, torch.minimum(X + eps, high))
    return (lower + upper) / 2, (upper - lower) / 2


def worst_scores(
    centre: Tensor,
    radius: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    power: float = 1.0,
    n_linear: int = 0,
) -> Tensor:
    """Return upper bounds of how far each score can get above that of class y in a box.

    Intervals are carried from layer to layer; the last layer is taken together with the difference of two
    scores, which is tighter than the difference of their intervals (Gowal et al. 2018, arXiv:1810.12715).
    With these intervals, differences can also be carried back to the row as linear functions, which know what
    units have in common (CROWN-IBP: Zhang et al. 2020, arXiv:1906.06316); the smaller bound counts. The
    cross-entropy of the bounds is at least that of every row in the box.

    Parameters
    ----------
    centre : tensor of shape (n, n_features)
    radius : tensor of shape (n, n_features) or (1, n_features)
        Half the width of the boxes.
    y : tensor of shape (n,)
        Indices of the classes.
    weights, biases : sequences of tensors of shape (n_in, n_out) and (n_out,)
        One output stands for two classes: the score of the second against 0.
    power : float
        Exponent of the rectifier between the layers.
    n_linear : int
        For how many classes of each row, those with the largest bounds, linear functions are tried.

    Returns
    -------
    tensor of shape (n, n_classes)
        Zero at the place of y.
    """
    box, layers, intervals = (centre, radius), list(zip(weights, biases))[:-1], []
    for weight, bias in layers:
        u, reach = torch.addmm(bias, centre, weight), radius @ weight.abs()
        intervals.append((u - reach, u + reach))
        low, high = (rectify(end, power) for end in intervals[-1])
        centre, radius = (low + high) / 2, (high - low) / 2
    weight, bias = two_columns(weights[-1]), two_columns(biases[-1][None])[0]
    scores = torch.addmm(bias, centre, weight)
    between = (weight[:, None, :] - weight[:, :, None]).abs()
    reach = (radius @ between.flatten(1)).unflatten(1, between.shape[1:])
    reach = reach[torch.arange(len(y), device=y.device) if len(reach) > 1 else 0, y]
    worst = scores - scores.gather(1, y[:, None]) + reach
    # A lone layer is exact already.
    n_linear = min(n_linear, worst.shape[1] - 1) if layers else 0
    if n_linear == 0:
        return worst
    others = worst.detach().scatter(1, y[:, None], -torch.inf).topk(n_linear, dim=1).indices
    A, constant = weight.T[others] - weight.T[y][:, None], bias[others] - bias[y][:, None]
    for (weight, bias), interval in zip(reversed(layers), reversed(intervals)):
        *tangent, chord, offset = rectifier_lines(*interval, power)
        # What is bounded is the sum from above: chord and tangent change places.
        A, more = between_lines(A, chord, offset, *tangent)
        A, constant = A @ weight.T, constant + more + A @ bias
    linear = constant + _times(A, box[0]) + _times(A.abs(), box[1])
    return worst.scatter(1, others, torch.minimum(linear, worst.gather(1, others)))


def _times(A: Tensor, x: Tensor) -> Tensor:
    """Return the product of the matrix and the vector of each row."""
    return (A @ x[:, :, None])[:, :, 0]
