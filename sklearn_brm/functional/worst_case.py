"""The scores of a perceptron at worst in a box around each row, for training: gradients reach its weights."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .layers import between_lines, rectifier_lines, two_columns
from .products import affine
from .rectifier import rectify

__all__ = ["box_around", "relaxed_scores", "worst_scores"]


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

    Returns
    -------
    tensor of shape (n, n_classes)
        Zero at the place of y.
    """
    for ends in _intervals(centre, radius, list(zip(weights, biases))[:-1], power):
        centre, radius = _activations(*ends, power)
    weight, bias = _one_column_per_class(weights[-1], biases[-1])
    between = (weight[:, None, :] - weight[:, :, None]).abs()
    reach = (radius @ between.flatten(1)).unflatten(1, between.shape[1:])
    reach = reach[torch.arange(len(y), device=y.device) if len(reach) > 1 else 0, y]
    return _leads(affine(centre, weight, bias), y) + reach


def relaxed_scores(
    centre: Tensor,
    radius: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    power: float = 1.0,
    n_classes: int = 1,
    share: float = 1.0,
) -> Tensor:
    """Return bounds, by linear functions, of how far the scores that come closest get above that of class y.

    The difference of two scores is carried back to the row as a linear function, which knows what units have
    in common, between the intervals of each unit (CROWN-IBP: Zhang et al. 2020, arXiv:1906.06316). A plain
    rectifier that bends is held between its chord and the parallel to it through zero (Wong and Kolter 2018,
    arXiv:1711.00851), which moves with the interval, so that the gradient knows of it; a power between its
    chord and a tangent.

    Parameters
    ----------
    centre, radius, y, weights, biases, power
        As in `worst_scores`.
    n_classes : int
        How many classes are bounded, those with the largest scores at the centre. The others keep the lead
        that they have there.
    share : float
        What the bound counts. The rest counts the lead at the row of the box where the linear function is
        largest, which the bound is never below; the classes that are not bounded count as they are there.

    Returns
    -------
    tensor of shape (n, n_classes)
        Zero at the place of y.
    """
    hidden = list(zip(weights, biases))[:-1]
    leads = _leads(_scores(centre, weights, biases, power), y)
    n_classes = min(n_classes, leads.shape[1] - 1)
    others = leads.detach().scatter(1, y[:, None], -torch.inf).topk(n_classes, dim=1).indices
    weight, bias = _one_column_per_class(weights[-1], biases[-1])
    A, constant = weight.T[others] - weight.T[y][:, None], bias[others] - bias[y][:, None]
    intervals = list(_intervals(centre, radius, hidden, power))
    for (weight, bias), interval in zip(reversed(hidden), reversed(intervals)):
        *below, chord, offset = rectifier_lines(*interval, power, _parallel(*interval, power))
        # What is bounded is the sum from above: chord and tangent change places.
        A, more = between_lines(A, chord, offset, *below)
        A, constant = A @ weight.T, constant + more + A @ bias
    bounds = constant + _times(A, centre) + _times(A.abs(), radius)
    if share < 1:
        points = (centre[:, None] + A.detach().sign() * radius[:, None]).flatten(end_dim=1)
        there = _scores(points, weights, biases, power).unflatten(0, others.shape)
        there = there - there.gather(2, y[:, None, None].expand(-1, n_classes, 1))
        leads, own = there[:, 0], there.gather(2, others[:, :, None])[:, :, 0]
        bounds = share * bounds + (1 - share) * own
    return leads.scatter(1, others, bounds)


def _scores(X: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], power: float) -> Tensor:
    for weight, bias in list(zip(weights, biases))[:-1]:
        X = rectify(affine(X, weight, bias), power)
    weight, bias = _one_column_per_class(weights[-1], biases[-1])
    return affine(X, weight, bias)


def _intervals(
    centre: Tensor, radius: Tensor, layers: Sequence[tuple[Tensor, Tensor]], power: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield bounds of the pre-activations of each layer on its own."""
    ends = None
    for weight, bias in layers:
        centre, radius = (centre, radius) if ends is None else _activations(*ends, power)
        u, reach = affine(centre, weight, bias), radius @ weight.abs()
        ends = u - reach, u + reach
        yield ends


def _activations(low: Tensor, high: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """Return centre and half width of what rectifiers make of intervals."""
    low, high = rectify(low, power), rectify(high, power)
    return (low + high) / 2, (high - low) / 2


def _one_column_per_class(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return two_columns(weight), two_columns(bias[None])[0]


def _leads(scores: Tensor, y: Tensor) -> Tensor:
    return scores - scores.gather(1, y[:, None])


def _parallel(low: Tensor, high: Tensor, power: float) -> Tensor:
    """Return where `rectifier_lines` shall touch: a plain rectifier parallel to its chord."""
    if power != 1:
        return torch.full_like(low, 0.5)
    bends = (low < 0) & (high > 0)
    return torch.where(bends, high / torch.where(bends, high - low, 1.0), 0.0)


def _times(A: Tensor, x: Tensor) -> Tensor:
    """Return the product of the matrix and the vector of each row."""
    return (A @ x[:, :, None])[:, :, 0]
