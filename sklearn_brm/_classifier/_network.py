"""The perceptron as torch trains it, and its translation from and to the arrays that the estimator holds."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..functional.layers import two_columns
from ..functional.products import affine
from ..functional.rectifier import rectify


class Perceptron(nn.Module):
    """Fully connected layers with relu(u)^power between them.

    The rows it sees are centred by the estimator, in the precision they come in. It scales them itself, so
    that every penalty can be taken with respect to the features in the user's units. Weights have the shape
    (n_in, n_out), which also multiplies faster than torch's own order where there are few features.

    Parameters
    ----------
    sizes : list of int
        Number of features, of units of each hidden layer, and of outputs (1 for two classes).
    mean, scale : ndarrays of shape (n_features,) or None
        What was subtracted from the features, and what they are still to be divided by.
    """

    power: float
    n_hidden: int
    weights: nn.ParameterList
    biases: nn.ParameterList
    mean: Tensor | None
    inverse_scale: Tensor | None
    norm: nn.BatchNorm1d | None

    def __init__(
        self,
        sizes: list[int],
        *,
        power: float,
        hidden_bias: bool,
        batch_norm: bool,
        mean: np.ndarray | None,
        scale: np.ndarray | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.power = power
        self.n_hidden = len(sizes) - 2
        self.weights = nn.ParameterList(torch.zeros(shape, dtype=dtype) for shape in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(n_out, dtype=dtype) for n_out in sizes[1:])
        for bias in self.biases[:-1]:
            bias.requires_grad_(hidden_bias)
        self.norm = nn.BatchNorm1d(sizes[-2], dtype=dtype) if batch_norm else None
        self.register_buffer("mean", None if mean is None else torch.as_tensor(mean, dtype=dtype))
        inverse_scale = None if scale is None else torch.as_tensor(1 / scale, dtype=dtype)
        self.register_buffer("inverse_scale", inverse_scale)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator, init: str) -> None:
        """Draw Glorot-normal weights, or He-normal with a LeCun-normal output; a lone layer starts at 0."""
        if self.n_hidden == 0:
            return
        for i, weight in enumerate(self.weights):
            n_in, n_out = weight.shape
            he_variance = (2 if i < self.n_hidden else 1) / n_in
            variance = he_variance if init == "he" else 2 / (n_in + n_out)
            noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            weight.copy_(noise * variance**0.5)

    def flatten(self) -> Tensor:
        """Lay all parameters that learn side by side in one, with a gradient, and return it.

        They and their gradients become views of it: what changes it changes them.
        """
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        flat = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in learning]))
        flat.grad = torch.zeros_like(flat)
        sizes = [parameter.numel() for parameter in learning]
        for parameter, values, slopes in zip(learning, flat.data.split(sizes), flat.grad.split(sizes)):
            parameter.data, parameter.grad = values.view_as(parameter), slopes.view_as(parameter)
        return flat

    def first_weight(self) -> Tensor:
        """Return the weights of the first layer for features in the user's units."""
        weight = self.weights[0]
        return weight if self.inverse_scale is None else weight * self.inverse_scale[:, None]

    def last_weight(self) -> Tensor:
        """Return the weights of the last layer as prediction applies them, batch normalisation included."""
        return self.weights[-1] if self.norm is None else self.weights[-1] * _gain(self.norm)[:, None]

    def intercepts(self) -> Iterator[Tensor]:
        """Yield the biases, that of the first layer for features in the user's units."""
        first, *others = self.biases
        yield first if self.mean is None else first - self.mean @ self.first_weight()
        yield from others

    def layers_in_prediction(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return weights and biases of each layer as prediction applies them to rows in the user's units.

        The rows are centred, where the network centres; batch normalisation is merged into the last layer.
        """
        weights, biases = list(self.weights), list(self.biases)
        if self.norm is not None:
            shift = self.norm.bias - cast(Tensor, self.norm.running_mean) * _gain(self.norm)
            biases[-1] = biases[-1] + shift @ weights[-1]
            weights[-1] = self.last_weight()
        if self.inverse_scale is not None:
            weights[0] = weights[0] * self.inverse_scale[:, None]
        return weights, biases

    def scaled(self, X: Tensor) -> Tensor:
        """Return the rows as the first layer takes them."""
        return X if self.inverse_scale is None else X * self.inverse_scale

    def forward(self, X: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores, shape (n, n_classes), and the list of the hidden layers' pre-activations."""
        preactivations: list[Tensor] = []
        activation = self.scaled(X)
        *hidden, (last_weight, last_bias) = zip(self.weights, self.biases)
        for weight, bias in hidden:
            preactivations.append(affine(activation, weight, bias))
            activation = rectify(preactivations[-1], self.power)
        if self.norm is not None:
            activation = _normalized(self.norm, activation)
        return two_columns(affine(activation, last_weight, last_bias)), preactivations


def _gain(norm: nn.BatchNorm1d) -> Tensor:
    return norm.weight / (cast(Tensor, norm.running_var) + norm.eps).sqrt()


def _normalized(norm: nn.BatchNorm1d, activation: Tensor) -> Tensor:
    if not (norm.training and len(activation) == 1):
        return norm(activation)
    # One row has no variance: such a batch is normalised as in prediction.
    return nn.functional.batch_norm(
        activation, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


def fold(network: Perceptron) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, np.ndarray] | None]:
    """Return the network as plain weights and biases for the user's features.

    Returns
    -------
    coefs, intercepts : lists of float64 ndarrays
        Of shapes (n_in, n_out) and (n_out,), layer by layer.
    norm : dict of float64 ndarrays or None
        What `unfold` needs to take the batch normalisation out of the last layer again.
    """
    coefs, intercepts = _to_arrays(network.weights), _to_arrays(network.biases)
    norm = None
    # First, since in a lone layer the scaled features are what is normalised.
    if network.norm is not None:
        norm = {name: _to_array(value) for name, value in network.norm.state_dict().items()}
        gain, shift = _norm_as_affine(norm, network.norm.eps)
        intercepts[-1] = intercepts[-1] + shift @ coefs[-1]
        coefs[-1] = coefs[-1] * gain[:, None]
    if network.inverse_scale is not None:
        coefs[0] = coefs[0] * _to_array(network.inverse_scale)[:, None]
    if network.mean is not None:
        intercepts[0] = intercepts[0] - _to_array(network.mean) @ coefs[0]
    return coefs, intercepts, norm


@torch.no_grad()
def unfold(
    network: Perceptron,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    norm: dict[str, np.ndarray] | None,
) -> None:
    """Load what `fold` returned into `network`, which may centre and scale the features differently."""
    coefs = [coef.astype(np.float64) for coef in coefs]
    intercepts = [intercept.astype(np.float64) for intercept in intercepts]
    if network.mean is not None:
        intercepts[0] = intercepts[0] + _to_array(network.mean) @ coefs[0]
    if network.inverse_scale is not None:
        coefs[0] = coefs[0] / _to_array(network.inverse_scale)[:, None]
    if norm is not None and network.norm is not None:
        network.norm.load_state_dict({name: torch.as_tensor(value) for name, value in norm.items()})
        gain, shift = _norm_as_affine(norm, network.norm.eps)
        coefs[-1] = coefs[-1] / gain[:, None]
        intercepts[-1] = intercepts[-1] - shift @ coefs[-1]
    for parameter, array in zip([*network.weights, *network.biases], [*coefs, *intercepts]):
        parameter.copy_(torch.as_tensor(array))


def _norm_as_affine(norm: dict[str, np.ndarray], eps: float) -> tuple[np.ndarray, np.ndarray]:
    gain = norm["weight"] / np.sqrt(norm["running_var"] + eps)
    return gain, norm["bias"] - norm["running_mean"] * gain


def _to_arrays(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    return [_to_array(tensor) for tensor in tensors]


def _to_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().copy()
