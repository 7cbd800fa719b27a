"""What a penalty may look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...functional.penalties import weighted_mean
from ...functional.rectifier import rectify
from .._network import Perceptron


@dataclass(frozen=True)
class Batch:
    """A batch of rows, and what the network makes of them: all that a penalty may look at.

    Attributes
    ----------
    network : torch.nn.Module
        Maps rows such as `X` to their scores and the list of pre-activations. `network.power` is the
        exponent of the rectifier, `network.n_hidden` the number of hidden layers.
    X : tensor of shape (n, n_features)
        The rows in the units of the user, minus the mean of each feature where `standardize` centres them.
    y : tensor of shape (n,)
        Indices of the classes.
    weight : tensor of shape (n,) or None
        What each row counts.
    scores : tensor of shape (n, n_classes)
        The logits.
    preactivations : sequence of tensors of shape (n, n_units)
        Of each hidden layer.
    generator : torch.Generator
        Where random numbers come from, on the CPU.
    weights : list of tensors of shape (n_inputs, n_outputs)
        Of each layer, for features in the units of the user. Two classes have one output.
    intercepts : list of tensors of shape (n_outputs,)
        Of each layer, for features in the units of the user.
    losses : tensor of shape (n,)
        The cross-entropy of each row.
    share : float
        The share of the training that is done, in [0, 1), the same for all batches of an epoch: what a
        `schedule` gets. 1 in `partial_fit`, which does not know what will come.
    rows, rows_are_scaled : tensor of shape (n, n_features) and bool
        What `X` is made of: the rows as training holds them, and whether they are divided by their scale.
    """

    network: Perceptron
    rows: Tensor
    y: Tensor
    weight: Tensor | None
    scores: Tensor
    preactivations: Sequence[Tensor]
    generator: torch.Generator
    share: float = 1.0
    rows_are_scaled: bool = False

    @cached_property
    def X(self) -> Tensor:
        if self.rows_are_scaled and self.network.inverse_scale is not None:
            return self.rows / self.network.inverse_scale
        return self.rows

    @property
    def weights(self) -> list[Tensor]:
        # A slice of torch's list of parameters is a module of its own, which takes long to build.
        _, *others = self.network.weights
        return [self.network.first_weight(), *others]

    @property
    def intercepts(self) -> list[Tensor]:
        return list(self.network.intercepts())

    @cached_property
    def losses(self) -> Tensor:
        return cross_entropy(self.scores, self.y, reduction="none")

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of one number per row, each times the weight of its row."""
        return weighted_mean(values, self.weight)

    def representation(self, of: str) -> Tensor:
        """Return the "logits", or the "hidden" activations or the "preactivation" of the last hidden layer.

        Without a hidden layer it is the logits.
        """
        if of == "logits" or not self.preactivations:
            return self.scores
        u = self.preactivations[-1]
        return u if of == "preactivation" else rectify(u, self.network.power)
