"""How steep a function is at given rows."""

from collections.abc import Callable

import torch


def jacobian_norms(
    function: Callable[[torch.Tensor], torch.Tensor], X: torch.Tensor, steps: torch.Tensor
) -> torch.Tensor:
    """Return the Frobenius norm of the Jacobian of each row's outputs with respect to ``X / steps``.

    Parameters
    ----------
    function : callable
        From rows (n_samples, n_features) to outputs (n_samples, n_outputs), one row after the other.
    X : Tensor of shape (n_samples, n_features)
    steps : Tensor of shape (n_features,)
        Units of the features.

    Returns
    -------
    norms : Tensor of shape (n_samples,)
    """
    X = X.detach().clone().requires_grad_()
    outputs = function(X)
    squares = torch.zeros(len(X), device=X.device, dtype=X.dtype)
    for output in outputs.unbind(dim=1):
        if output.requires_grad:
            (gradient,) = torch.autograd.grad(output.sum(), X, retain_graph=True)
            squares += (gradient * steps).square().sum(dim=1)
    return squares.sqrt().detach()
