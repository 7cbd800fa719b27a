"""Neural networks: scikit-learn's own, and torch modules trained by skorch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from ...functional.layers import Affine, Layer, Rectifier, SShaped, TwoColumns, sequence
from .._registry import converts_classifier

if TYPE_CHECKING:
    from .._registry import Target

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": sequence,
    "logistic": partial(SShaped, "logistic"),
    "tanh": partial(SShaped, "tanh"),
    "relu": Rectifier,
}


class Foreign(Layer):
    """A module of somebody else, of whose outputs the first one is taken, and flattened for one score."""

    def __init__(self, module: torch.nn.Module, *, one_score: bool = False) -> None:
        super().__init__()
        self.module, self.one_score = module, one_score

    def forward(self, X: Tensor) -> Tensor:
        """Return the scores, of shape (n, n_outputs)."""
        output = self.module(X)
        output = output[0] if isinstance(output, tuple) else output
        return output.reshape(len(X), 1) if self.one_score else output


class Log(Layer):
    """Logarithms of probabilities, which a function may have to make first, kept finite at zero."""

    def __init__(self, to_proba: Any = None) -> None:
        super().__init__()
        self.to_proba = to_proba

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms."""
        proba = X if self.to_proba is None else self.to_proba(X)
        return proba.clamp_min(torch.finfo(X.dtype).tiny).log()


@converts_classifier(MLPClassifier)
def convert_mlp(network: Any, target: Target) -> torch.nn.Module:
    """The logits, in front of the last softmax or logistic function."""
    if network.out_activation_ == "logistic" and network.n_outputs_ > 1:
        raise target.refuse(network, "it predicts several labels per row")
    layers: list[nn.Module] = []
    for weight, bias in zip(network.coefs_, network.intercepts_):
        layers += [Affine(target.tensor(weight), target.tensor(bias)), _ACTIVATIONS[network.activation]()]
    return sequence(*layers[:-1], TwoColumns() if network.n_outputs_ == 1 else None)


@converts_classifier("skorch.NeuralNetClassifier")
def convert_skorch_classifier(net: Any, target: Target) -> torch.nn.Module:
    """The module's logits, or the logarithms of the probabilities that it or `predict_nonlinearity` makes."""
    module = Foreign(_frozen_copy(net.module_, target))
    if net.predict_nonlinearity == "auto" and isinstance(net.criterion_, nn.CrossEntropyLoss):
        return module
    return sequence(module, Log(net.predict_nonlinearity if callable(net.predict_nonlinearity) else None))


@converts_classifier("skorch.NeuralNetBinaryClassifier")
def convert_skorch_binary_classifier(net: Any, target: Target) -> torch.nn.Module:
    """The module's logit, less that of the threshold."""
    if net.predict_nonlinearity != "auto" or not isinstance(net.criterion_, nn.BCEWithLogitsLoss):
        raise target.refuse(net, "only logits trained with BCEWithLogitsLoss are known")
    return sequence(Foreign(_frozen_copy(net.module_, target), one_score=True), TwoColumns())


def _frozen_copy(module: torch.nn.Module, target: Target) -> torch.nn.Module:
    return copy.deepcopy(module).to(device=target.device, dtype=target.dtype).eval().requires_grad_(False)
