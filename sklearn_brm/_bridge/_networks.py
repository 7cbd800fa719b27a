"""Neural networks: scikit-learn's own, and torch modules trained by skorch."""

import copy

import torch
from sklearn.neural_network import MLPClassifier

from ._linear import two_columns
from ._registry import converts_classifier

_ACTIVATIONS = {"identity": lambda X: X, "logistic": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


@converts_classifier(MLPClassifier)
def convert_mlp(network, target):
    """The logits, in front of the last softmax or logistic function."""
    if network.out_activation_ == "logistic" and network.n_outputs_ > 1:
        raise target.refuse(network, "it predicts several labels per row")
    layers = [(target.tensor(W), target.tensor(b)) for W, b in zip(network.coefs_, network.intercepts_)]
    activation = _ACTIVATIONS[network.activation]

    def logits(X):
        for W, b in layers[:-1]:
            X = activation(X @ W + b)
        W, b = layers[-1]
        X = X @ W + b
        return two_columns(X[:, 0]) if network.n_outputs_ == 1 else X

    return logits


@converts_classifier("skorch.NeuralNetClassifier")
def convert_skorch_classifier(net, target):
    """The module's logits, or the logarithms of the probabilities that it or `predict_nonlinearity` makes."""
    module = _frozen_copy(net.module_, target)
    if net.predict_nonlinearity == "auto" and isinstance(net.criterion_, torch.nn.CrossEntropyLoss):
        return lambda X: _first(module(X))
    to_proba = net.predict_nonlinearity if callable(net.predict_nonlinearity) else (lambda output: output)
    return lambda X: to_proba(_first(module(X))).clamp_min(torch.finfo(target.dtype).tiny).log()


@converts_classifier("skorch.NeuralNetBinaryClassifier")
def convert_skorch_binary_classifier(net, target):
    """The module's logit, less that of the threshold."""
    if net.predict_nonlinearity != "auto" or not isinstance(net.criterion_, torch.nn.BCEWithLogitsLoss):
        raise target.refuse(net, "only logits trained with BCEWithLogitsLoss are known")
    module = _frozen_copy(net.module_, target)
    return lambda X: two_columns(_first(module(X)).reshape(len(X)))


def _frozen_copy(module, target):
    return copy.deepcopy(module).to(device=target.device, dtype=target.dtype).eval().requires_grad_(False)


def _first(output):
    """A module's prediction: skorch takes the first of several outputs."""
    return output[0] if isinstance(output, tuple) else output
