"""Cross-entropy of a perceptron and its gradients in closed form, at half the cost of a recorded graph."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, nll_loss

from .layers import two_columns
from .products import affine, sum_of_outer
from .rectifier import rectifier_slope, rectify


@torch.no_grad()
def backpropagate(
    X: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    power: float = 1.0,
    sample_weight: Tensor | None = None,
    *,
    out: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Return the loss of a batch, what the layers hold, and the gradients of the weights and of the biases.

    Small layers spend more time on the bookkeeping of autograd than on arithmetic. This is for the plain
    loss; autograd takes over where a penalty depends on the weights through the activations.

    Parameters
    ----------
    X : tensor of shape (n, n_features)
    y : tensor of shape (n,)
        Indices of the classes.
    weights, biases : sequences of tensors of shape (n_in, n_out) and (n_out,)
        One output stands for two classes: the score of the second against 0.
    power : float
        Exponent of the rectifier.
    sample_weight : tensor of shape (n,), optional
    out : sequence of tensors, optional
        Where the gradients go: of all weights, then of all biases, each of the shape of what it belongs to.

    Returns
    -------
    loss : scalar tensor
        Mean of the (weighted) cross-entropy.
    scores : tensor of shape (n, n_classes)
    preactivations : list of tensors of shape (n, n_units)
        Of the hidden layers.
    weight_gradients, bias_gradients : lists of tensors
    """
    n_rows, n_layers = X.shape[0], len(weights)
    out = [torch.empty_like(tensor) for tensor in [*weights, *biases]] if out is None else out
    weight_gradients, bias_gradients = list(out[:n_layers]), list(out[n_layers:])
    inputs, preactivations = [X], []
    for weight, bias in zip(weights[:-1], biases[:-1]):
        preactivations.append(affine(inputs[-1], weight, bias))
        inputs.append(rectify(preactivations[-1], power))
    scores = two_columns(affine(inputs[-1], weights[-1], biases[-1]))
    log_probabilities = log_softmax(scores, dim=1)
    loss = _cross_entropy(log_probabilities, y, sample_weight)
    delta = log_probabilities.exp_()
    delta.scatter_add_(1, y[:, None], delta.new_full((n_rows, 1), -1.0))
    delta *= 1 / n_rows if sample_weight is None else sample_weight[:, None] / n_rows
    delta = delta[:, -weights[-1].shape[1] :]
    for i in range(n_layers - 1, -1, -1):
        sum_of_outer(inputs[i], delta, weight_gradients[i])
        torch.sum(delta, dim=0, out=bias_gradients[i])
        if i > 0:
            delta = torch.mm(delta, weights[i].T)
            # The activations are done with, so that their memory can hold the slopes.
            delta *= inputs[i].sign_() if power == 1 else rectifier_slope(preactivations[i - 1], power)
    return loss, scores, preactivations, weight_gradients, bias_gradients


@torch.no_grad()
def backpropagate_stack(
    X: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    power: float = 1.0,
    sample_weight: Tensor | None = None,
    *,
    out: Sequence[Tensor],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Do for several networks on the same batch what `backpropagate` does for one, up to rounding.

    Parameters
    ----------
    X : tensor of shape (n, n_features)
    y : tensor of shape (n,)
        Indices of the classes.
    weights, biases : sequences of tensors of shape (n_networks, n_in, n_out) and (n_networks, 1, n_out)
    power : float
        Exponent of the rectifier.
    sample_weight : tensor of shape (n,), optional
    out : sequence of tensors
        Where the gradients go: of all weights, then of all biases, each of the shape of what it belongs to.

    Returns
    -------
    loss : tensor of shape (n_networks,)
        Mean of the (weighted) cross-entropy of each network.
    scores : tensor of shape (n_networks, n, n_classes)
    preactivations : list of tensors of shape (n_networks, n, n_units)
        Of the hidden layers.
    """
    n_networks, n_rows, n_layers = len(weights[0]), len(X), len(weights)
    scores, inputs, preactivations = forward_stack(X, weights, biases, power)
    log_probabilities = log_softmax(scores, dim=-1)
    right = y[:, None].expand(n_networks, -1, -1)
    shares = torch.full_like(X[:, 0], 1 / n_rows) if sample_weight is None else sample_weight / n_rows
    loss = -(log_probabilities.gather(-1, right)[..., 0] @ shares)
    delta = log_probabilities.exp_()
    delta.scatter_add_(-1, right, delta.new_full((), -1.0).expand_as(right))
    delta *= shares[:, None]
    delta = delta[..., -weights[-1].shape[-1] :]
    for i in range(n_layers - 1, -1, -1):
        sum_of_outer(inputs[i], delta, out[i])
        torch.sum(delta, dim=-2, keepdim=True, out=out[n_layers + i])
        if i > 0:
            delta = torch.bmm(delta, weights[i].mT)
            delta *= inputs[i].sign_() if power == 1 else rectifier_slope(preactivations[i - 1], power)
    return loss, scores, preactivations


def forward_stack(
    X: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], power: float = 1.0
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the scores of several networks, and the inputs and the pre-activations of their layers.

    Parameters
    ----------
    X, weights, biases, power
        As in `backpropagate_stack`.
    """
    inputs, preactivations = [X.expand(len(weights[0]), -1, -1)], []
    for weight, bias in zip(weights[:-1], biases[:-1]):
        preactivations.append(affine(inputs[-1], weight, bias))
        inputs.append(rectify(preactivations[-1], power))
    return two_columns(affine(inputs[-1], weights[-1], biases[-1])), inputs, preactivations


def _cross_entropy(log_probabilities: Tensor, y: Tensor, sample_weight: Tensor | None) -> Tensor:
    if sample_weight is None:
        return nll_loss(log_probabilities, y)
    return nll_loss(log_probabilities, y, reduction="none") @ sample_weight / len(y)
