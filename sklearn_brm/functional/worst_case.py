"""The scores of a perceptron at worst in a box around each row, for training: gradients reach its weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .layers import two_columns
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
) -> Tensor:
    """Return upper bounds of how far each score can get above that of class y in a box.

    Intervals are carried from layer to layer; the last layer is taken together with the difference of two
    scores, which is tighter than the difference of their intervals (Gowal et al. 2018, arXiv:1810.12715). The
    cross-entropy of these bounds is at least that of every row in the box.

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

    Returns
    -------
    tensor of shape (n, n_classes)
        Zero at the place of y.
    """
    for weight, bias in zip(weights[:-1], biases[:-1]):
        u, reach = torch.addmm(bias, centre, weight), radius @ weight.abs()
        low, high = rectify(u - reach, power), rectify(u + reach, power)
        centre, radius = (low + high) / 2, (high - low) / 2
    weight, bias = two_columns(weights[-1]), two_columns(biases[-1][None])[0]
    scores = torch.addmm(bias, centre, weight)
    between = (weight[:, None, :] - weight[:, :, None]).abs()
    reach = (radius @ between.flatten(1)).unflatten(1, between.shape[1:])
    reach = reach[torch.arange(len(y), device=y.device) if len(reach) > 1 else 0, y]
    return scores - scores.gather(1, y[:, None]) + reach
