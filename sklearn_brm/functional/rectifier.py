"""The rectifier relu(u)^n and its slope, finite and differentiable everywhere."""

import torch
from torch import Tensor


def rectify(u: Tensor, power: float = 1.0) -> Tensor:
    """Return max(0, u)^power, element by element."""
    if power == 1:
        return u.relu()
    if power < 1 and u.requires_grad:
        # Its slope is infinite at 0, where it must not meet the zero of the rectifier.
        active = u > 0
        return torch.where(active, torch.where(active, u, 1.0).pow(power), 0.0)
    return u.relu().square() if power == 2 else u.relu().pow(power)


def rectify_with_slope(u: Tensor, power: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the rectifier and its derivative."""
    if power != 1:
        return rectify(u, power), rectifier_slope(u, power)
    activation = u.relu()
    return activation, activation.detach().sign()


def rectifier_slope(u: Tensor, power: float = 1.0) -> Tensor:
    """Return the derivative power * max(0, u)^(power - 1), which is 0 where u <= 0."""
    if power == 1:
        return u.detach().relu().sign()
    if power == 2:
        return 2 * u.relu()
    active = u > 0
    # A power below 2 has an infinite second derivative at 0: the inner `where` keeps it out of the gradient.
    return torch.where(active, power * torch.where(active, u, 1.0).pow(power - 1), 0.0)
