"""The perceptron as torch trains it, and its translation from and to the arrays that the estimator holds."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ..functional.rectifier import rectify


class Perceptron(nn.Module):
    """Fully connected layers with relu(u)^power between them.

    The rows it sees are centred by the estimator, in the precision they come in. It scales them itself, so
    that every penalty can be taken with respect to the features in the user's units.

    Parameters
    ----------
    sizes : list of int
        Number of features, of units of each hidden layer, and of outputs (1 for two classes).
    mean, scale : ndarrays of shape (n_features,) or None
        What was subtracted from the features, and what they are still to be divided by.
    """

    def __init__(self, sizes, *, power, hidden_bias, batch_norm, mean, scale, dtype):
        super().__init__()
        self.power = power
        self.register_buffer("mean", None if mean is None else torch.as_tensor(mean, dtype=dtype))
        self.register_buffer(
            "inverse_scale", None if scale is None else 1 / torch.as_tensor(scale, dtype=dtype)
        )
        n_layers = len(sizes) - 1
        self.layers = nn.ModuleList(
            _linear(fan_in, fan_out, bias=hidden_bias or i == n_layers - 1, dtype=dtype)
            for i, (fan_in, fan_out) in enumerate(pairwise(sizes))
        )
        self.norm = nn.BatchNorm1d(sizes[-2], dtype=dtype) if batch_norm else None

    @torch.no_grad()
    def initialize(self, generator):
        """Draw He-normal hidden weights and LeCun-normal output weights; a lone layer starts at zero."""
        for i, layer in enumerate(self.layers):
            is_output = i == len(self.layers) - 1
            gain = 1.0 if is_output else 2.0
            std = 0.0 if len(self.layers) == 1 else (gain / layer.in_features) ** 0.5
            noise = torch.randn(layer.weight.shape, generator=generator, dtype=layer.weight.dtype)
            layer.weight.copy_(std * noise)
            if layer.bias is not None:
                layer.bias.zero_()

    def first_weight(self):
        """Return the weights of the first layer for features in the user's units."""
        weight = self.layers[0].weight
        return weight if self.inverse_scale is None else weight * self.inverse_scale

    def last_weight(self):
        """Return the weights of the last layer as prediction applies them, batch normalisation included."""
        weight = self.layers[-1].weight
        if self.norm is None:
            return weight
        return weight * (self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt())

    def biases(self):
        """Yield the biases, that of the first layer for features in the user's units."""
        for i, layer in enumerate(self.layers):
            if i == 0 and layer.bias is not None and self.mean is not None:
                yield layer.bias - self.first_weight() @ self.mean
            elif layer.bias is not None:
                yield layer.bias

    def forward(self, X):
        """Return scores, shape (n, n_classes), and the list of the hidden layers' pre-activations."""
        preactivations = []
        activation = X if self.inverse_scale is None else X * self.inverse_scale
        for layer in self.layers[:-1]:
            preactivations.append(layer(activation))
            activation = rectify(preactivations[-1], self.power)
        if self.norm is not None:
            activation = self._normalize(activation)
        return two_columns(self.layers[-1](activation)), preactivations

    def _normalize(self, activation):
        # The variance of one row says nothing: such a batch is normalised as in prediction.
        if self.norm.training and len(activation) == 1:
            norm = self.norm
            return nn.functional.batch_norm(
                activation, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        return self.norm(activation)


def _linear(fan_in, fan_out, **kwargs):
    # torch's own initialisation would draw from its global generator.
    return nn.utils.skip_init(nn.Linear, fan_in, fan_out, **kwargs)


def two_columns(scores):
    """Return scores with one column per class: a single column is the score of the second class against 0."""
    if scores.shape[1] > 1:
        return scores
    return torch.cat([torch.zeros_like(scores), scores], dim=1)


def fold(network):
    """Return the network as plain weights and biases for the user's features.

    Returns
    -------
    coefs, intercepts : lists of float64 ndarrays
        Of shapes (n_in, n_out) and (n_out,), layer by layer.
    norm : dict of float64 ndarrays or None
        What `unfold` needs to take the batch normalisation out of the last layer again.
    """
    weights = [_to_numpy(layer.weight) for layer in network.layers]
    biases = [
        np.zeros(len(w)) if x.bias is None else _to_numpy(x.bias) for w, x in zip(weights, network.layers)
    ]
    if network.inverse_scale is not None:
        weights[0] = weights[0] * _to_numpy(network.inverse_scale)
    if network.mean is not None:
        biases[0] = biases[0] - weights[0] @ _to_numpy(network.mean)
    norm = None
    if network.norm is not None:
        norm = {name: _to_numpy(value) for name, value in network.norm.state_dict().items()}
        gain, shift = _norm_as_affine(norm, network.norm.eps)
        biases[-1] = biases[-1] + weights[-1] @ shift
        weights[-1] = weights[-1] * gain
    return [w.T for w in weights], biases, norm


@torch.no_grad()
def unfold(network, coefs, intercepts, norm):
    """Load what `fold` returned into `network`, which may centre and scale the features differently."""
    weights, biases = (
        [coef.T.astype(np.float64) for coef in coefs],
        [b.astype(np.float64) for b in intercepts],
    )
    if norm is not None and network.norm is not None:
        network.norm.load_state_dict({name: torch.as_tensor(value) for name, value in norm.items()})
        gain, shift = _norm_as_affine(norm, network.norm.eps)
        weights[-1] = weights[-1] / gain
        biases[-1] = biases[-1] - weights[-1] @ shift
    if network.mean is not None:
        biases[0] = biases[0] + weights[0] @ _to_numpy(network.mean)
    if network.inverse_scale is not None:
        weights[0] = weights[0] / _to_numpy(network.inverse_scale)
    for layer, weight, bias in zip(network.layers, weights, biases):
        layer.weight.copy_(torch.as_tensor(weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.as_tensor(bias))


def apply_layers(X, layers, power):
    """Return the pre-activation of the last of `layers`, a list of pairs of weight and bias."""
    u = torch.nn.functional.linear(X, *layers[0])
    for layer in layers[1:]:
        u = torch.nn.functional.linear(rectify(u, power), *layer)
    return u


def _norm_as_affine(norm, eps):
    gain = norm["weight"] / np.sqrt(norm["running_var"] + eps)
    return gain, norm["bias"] - norm["running_mean"] * gain


def _to_numpy(tensor):
    return tensor.detach().cpu().double().numpy().copy()
