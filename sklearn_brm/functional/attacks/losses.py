"""What a gradient attack drives up: one number per row, from decision scores and the true class."""

import torch
from torch import Tensor

# Beyond this margin the probability of the true class rounds towards 1 and cross-entropy goes flat.
_SATURATION = 8.0


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """Return how far the best wrong class is above the true one; positive when the row is broken."""
    true = scores.gather(1, y[:, None])
    wrong = scores.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - true[:, 0]


def plain_cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Return cross-entropy as it is."""
    return torch.nn.functional.cross_entropy(scores, y, reduction="none")


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Return cross-entropy, with the scores of rows that would saturate it divided by a constant.

    Where the true class leads by more than 8, the scores are divided so that it leads by 8. That
    changes the size of the gradient, which no attack here uses, and keeps it from vanishing.
    """
    lead = -margin(scores, y).detach()
    temperature = (lead / _SATURATION).clamp(min=1)
    return plain_cross_entropy(scores / temperature[:, None], y)


def targeted_margin(scores: Tensor, goal: Tensor) -> Tensor:
    """Return how far the second class of each row of `goal` (n, 2) is above the first, the true one."""
    chosen = scores.gather(1, goal)
    return chosen[:, 1] - chosen[:, 0]


def best_wrong_classes(scores: Tensor, y: Tensor, n_targets: int) -> Tensor:
    """Return the wrong classes with the largest scores, best first, shape (n, n_targets)."""
    wrong = scores.scatter(1, y[:, None], -torch.inf)
    return wrong.topk(n_targets, dim=1).indices
