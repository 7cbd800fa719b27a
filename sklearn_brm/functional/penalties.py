"""Penalties of a network as scalar tensors: weights, Jacobians, spectrum, input gradient, adversary.

Symbols: `W` (n_hidden, n_features) and `V` (n_outputs, n_hidden) are the weights of the first and the second
layer, `slope` (n, n_hidden) holds f'(u) at the pre-activations u = W x of every row, and `weight` (n,) weighs
the rows.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = [
    "adversarial_rows",
    "gram",
    "input_gradient",
    "jacobian_hidden",
    "jacobian_logits",
    "jacobian_projected",
    "l1",
    "l2",
    "spectral",
    "weighted_mean",
]


def l1(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of absolute values over all `tensors`."""
    return cast(Tensor, sum(tensor.abs().sum() for tensor in tensors))


def l2(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of squares over all `tensors`."""
    return cast(Tensor, sum(tensor.square().sum() for tensor in tensors))


def weighted_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of ``weight * values`` over the rows; no weight is a weight of one."""
    return values.mean() if weight is None else (values * weight).mean()


def jacobian_hidden(W: Tensor, slope: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of ``|J(x)|_F^2`` for the activations f(W x): ``sum_mu f'(u_mu)^2 |W_mu|_2^2``."""
    return weighted_mean(slope.square() @ W.square().sum(dim=1), weight)


def jacobian_logits(W: Tensor, slope: Tensor, V: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the mean of ``|J(x)|_F^2`` for the logits V f(W x), with ``J(x) = V diag(f'(u)) W``.

    With the Gram matrices of both layers,
    :math:`|J|_F^2 = \sum_{\mu\nu} f'_\mu f'_\nu (W W^T)_{\mu\nu} (V^T V)_{\mu\nu}`, so the mean over rows
    needs only the second moment of the slopes: three matrices of n_hidden x n_hidden for any number of rows.
    """
    weighted = slope if weight is None else slope * weight[:, None]
    moment = weighted.T @ slope / len(slope)
    return (moment * gram(W) * gram(V.T)).sum()


def gram(W: Tensor) -> Tensor:
    """Return ``W @ W.T`` for use under a symmetric function, with half the work in the backward pass.

    Both factors get the same gradient there, so one factor is taken twice and the other held fixed.
    """
    product = W @ W.detach().T
    return 2 * product - product.detach()


def jacobian_projected(
    outputs: Tensor,
    X: Tensor,
    n_projections: int,
    generator: torch.Generator,
    weight: Tensor | None = None,
) -> Tensor:
    """Estimate the mean of ``|d outputs / d X|_F^2`` from random unit directions (Hoffman et al. 2019).

    The estimate is unbiased.

    Parameters
    ----------
    outputs : tensor of shape (n, n_outputs)
        A function of `X`, row by row.
    X : tensor of shape (n, n_features)
        Must require a gradient.
    n_projections : int
        Directions per row, each costs one backward pass through the graph that is kept for the gradient.
    generator : torch.Generator
        Source of the directions, on the CPU.
    weight : tensor of shape (n,), optional
    """
    total = outputs.new_zeros(())
    for _ in range(n_projections):
        directions = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype).to(outputs.device)
        (projected,) = torch.autograd.grad(outputs, X, normalize(directions, dim=1), create_graph=True)
        total = total + weighted_mean(projected.square().sum(dim=1), weight)
    return total * (outputs.shape[1] / n_projections)


def spectral(
    H: Tensor,
    eigenvectors: Tensor,
    exponent: float = 1.0,
    start: int = 0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return how far the spectrum of the batch `H` is from a power law (Nassar et al. 2020).

    The eigenvalues l_n are the diagonal of S^T cov(H) S with the columns of `eigenvectors` for S, fixed and
    sorted by falling eigenvalue; cov is the (weighted) mean of products about the mean. The value is
    (1/N) sum_{n >= start} [(l_n/g_n - 1)^2 + max(0, l_n/g_n - 1)], N the number of units. The target g_n is
    n^-exponent when `start` is 0, and is scaled to pass through l_start otherwise. Twice the `weight` of all
    rows is twice the value, of the same spectrum.
    """
    shares = None if weight is None else weight / weight.sum()
    mean = H.mean(dim=0) if shares is None else shares @ H
    squares = ((H - mean) @ eigenvectors).square()
    eigenvalues = squares.mean(dim=0) if shares is None else shares @ squares
    ranks = torch.arange(1, len(eigenvalues) + 1, dtype=H.dtype, device=H.device)
    first = max(start, 1) - 1
    target = ranks[first:].pow(-exponent)
    if start > 0:
        target = target * (eigenvalues[first] / target[0])
    excess = eigenvalues[first:] / target - 1
    value = (excess.square() + excess.relu()).sum() / len(eigenvalues)
    return value if weight is None else value * weight.mean()


def input_gradient(losses: Tensor, X: Tensor, weight: Tensor | None = None, norm: float = 2) -> Tensor:
    """Return the mean squared 2-norm, or the mean 1-norm, of the gradient of each row's loss by the row.

    `losses` (n,) must be a function of `X` (n, n_features), row by row, and `X` must require a gradient. The
    1-norm is the rise of the loss, to first order, under a change of every feature by up to one
    (Simon-Gabriel et al. 2019).
    """
    (gradient,) = torch.autograd.grad(losses.sum(), X, create_graph=True)
    size = gradient.abs() if norm == 1 else gradient.square()
    return weighted_mean(size.sum(dim=1), weight)


def adversarial_rows(
    losses: Callable[[Tensor], Tensor], X: Tensor, eps: float, n_steps: int, generator: torch.Generator
) -> Tensor:
    """Return rows within `eps` of `X` in the maximum norm that raise the loss, detached.

    One step is the fast gradient sign method. Several are projected gradient ascent from a random start, with
    steps of 2.5 eps / n_steps (Madry et al. 2018).
    """
    X = X.detach()
    delta = torch.zeros_like(X)
    step = eps
    if n_steps > 1:
        noise = torch.rand(X.shape, generator=generator, dtype=X.dtype)
        delta = eps * (2 * noise.to(X.device) - 1)
        step = 2.5 * eps / n_steps
    for _ in range(n_steps):
        rows = (X + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(losses(rows).sum(), rows)
        delta = (delta + step * gradient.sign()).clamp(-eps, eps)
    return X + delta
