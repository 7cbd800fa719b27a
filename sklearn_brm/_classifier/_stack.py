"""Networks that differ in the strength of one penalty, trained side by side in one batch of products."""

import copy
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .._memory import is_out_of_memory
from ..functional.adam import Adam
from ..functional.backpropagation import backpropagate_stack, forward_stack
from ._batches import RightAnswers, Rows, mean_over_rows
from ._course import Course, DivergedError, Outcome
from ._network import Perceptron
from ._plan import Settings, first_rate, rate_factor
from ._training import Task
from .penalties import Batch

# Of the activations of all networks, or of a matrix of units for each: with more, a processor leaves its
# cache, and loses what fewer calls gain; measured with 100 to 1000 units. On a GPU, far more.
_ENTRIES = 2**18, 2**26


def stackable(settings: Settings) -> bool:
    """Whether all there is to a training from new weights has a form for several networks at once."""
    if len(settings.penalties) != 1 or settings.optimizer != "adam":
        return False
    if settings.callbacks or settings.batch_norm:
        return False
    (penalty,) = settings.penalties.values()
    # The numbers of units do not count.
    network = Perceptron(
        [1] * (len(settings.hidden_sizes) + 2),
        power=settings.power,
        hidden_bias=settings.hidden_bias,
        batch_norm=False,
        mean=None,
        scale=None,
        dtype=torch.float32,
    )
    return penalty.needs(network) == "weights" and penalty._stacks(network)


@torch.no_grad()
def train_stack(task: Task, strengths: Sequence[float]) -> list[Outcome | DivergedError] | None:
    """Return what comes out of a training for each strength of the penalty, as one by one up to rounding.

    None where one by one is the better way: networks are so large that they gain nothing from each other, or
    memory runs out.

    Parameters
    ----------
    task : Task
        With settings that are `stackable`, and without a state to go on from.
    strengths : sequence of float
        In place of the strength of its only penalty.
    """
    n_at_once = min(len(strengths), _networks_at_once(task))
    if n_at_once < 2:
        return None
    try:
        parts = np.array_split(list(strengths), math.ceil(len(strengths) / n_at_once))
        return [outcome for part in parts for outcome in _StackTraining(task, part.tolist()).run()]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def _networks_at_once(task: Task) -> int:
    """Return how many networks learn faster together than one after the other."""
    width = max(task.settings.hidden_sizes, default=1)
    limit = _ENTRIES[task.settings.device.type != "cpu"]
    return max(1, limit // (width * max(width, task.batch_size)))


class NetworkStack:
    """Several perceptrons that start alike, as one set of tensors with one more axis in front.

    Parameters
    ----------
    network : Perceptron
        Which all of them are copies of.
    n_networks : int

    Attributes
    ----------
    weights, biases : lists of tensors of shape (n_networks, n_in, n_out) and (n_networks, 1, n_out)
        Of each layer.
    slopes : list of tensors
        The gradients of the weights of all layers, then those of the biases.
    flat : tensor
        All that learns, with a gradient, of which the others are views.
    power, n_hidden, inverse_scale
        As of the perceptron.
    """

    def __init__(self, network: Perceptron, n_networks: int) -> None:
        self.network = network
        self.power, self.n_hidden = network.power, network.n_hidden
        self.inverse_scale = network.inverse_scale
        parameters = [*network.weights, *network.biases]
        copies = [p.detach().expand(n_networks, *[1] * (2 - p.ndim), *p.shape) for p in parameters]
        learning = [i for i, parameter in enumerate(parameters) if parameter.requires_grad]
        self.flat = torch.cat([copies[i].reshape(-1) for i in learning])
        self.flat.grad = torch.zeros_like(self.flat)
        sizes = [copies[i].numel() for i in learning]
        self.slopes = [torch.zeros_like(values) for values in copies]
        for i, values, slopes in zip(learning, self.flat.split(sizes), self.flat.grad.split(sizes)):
            copies[i], self.slopes[i] = values.view_as(copies[i]), slopes.view_as(copies[i])
        self.weights, self.biases = copies[: self.n_hidden + 1], copies[self.n_hidden + 1 :]

    def first_weight(self) -> Tensor:
        """Return the weights of the first layers for features in the user's units."""
        weight = self.weights[0]
        return weight if self.inverse_scale is None else weight * self.inverse_scale[:, None]

    def scores(self, X: Tensor) -> Tensor:
        """Return scores of shape (n_networks, n, n_classes)."""
        return forward_stack(X, self.weights, self.biases, self.power)[0]

    def perceptron(self, i: int) -> Perceptron:
        """Return a copy of one of the networks."""
        network = copy.deepcopy(self.network)
        for parameter, values in zip(
            [*network.weights, *network.biases], [*self.weights, *self.biases], strict=True
        ):
            parameter.copy_(values[i].view_as(parameter))
        return network


class _StackTraining:
    """As `Training`, of a stack of networks."""

    def __init__(self, task: Task, strengths: Sequence[float]) -> None:
        network, settings = task.network(), task.settings
        self.settings = settings
        self.train = Rows.for_network(*task.train, network)
        self.valid = None if task.valid is None else Rows.for_network(*task.valid, network)
        self.generators = task.generators
        self.batch_size = task.batch_size
        self.rate = first_rate(settings, self.train.X.shape, task.batch_size)
        self.stack = NetworkStack(network, len(strengths))
        self.optimizer = Adam([self.stack.flat], lr=self.rate)
        ((self.label, self.penalty),) = settings.penalties.items()
        self.strengths = self.stack.flat.new_tensor(list(strengths))
        first = self.strengths[:, None, None]
        scale = self.stack.inverse_scale
        # By which gradients for features in the user's units become those for the network's.
        self.factors = [first if scale is None else first * scale[:, None]]
        self.factors += [first] * self.stack.n_hidden
        self.courses = [Course(settings) for _ in strengths]
        self.best: dict[int, Perceptron] = {}
        self.outcomes: dict[int, Outcome | DivergedError] = {}

    def run(self) -> list[Outcome | DivergedError]:
        """Train to the end."""
        for epoch in range(self.settings.n_epochs):
            share = epoch / self.settings.n_epochs
            factor = rate_factor(self.settings, share)
            if factor is not None:
                self.optimizer.param_groups[0]["lr"] = self.rate * factor
            losses, penalties = self._learn(share)
            self._judge(losses, penalties, self._watch(), share)
            if len(self.outcomes) == len(self.courses):
                break
        for i in range(len(self.courses)):
            self._end(i, stopped=False)
        return [self.outcomes[i] for i in range(len(self.courses))]

    def _learn(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Take a step for each batch, and return the mean loss, and the penalty's share in it, of each."""
        stack = self.stack
        steps, sizes = [], []
        for X, y, weight in self.train.batches(self.batch_size, self.generators[0], stack.inverse_scale):
            loss, scores, preactivations = backpropagate_stack(
                X, y, stack.weights, stack.biases, stack.power, weight, out=stack.slopes
            )
            penalty = self.strengths * self._add_gradients(X, y, weight, scores, preactivations, share)
            self.optimizer.update()
            steps.append(torch.stack([loss + penalty, penalty]))
            sizes.append(len(y))
        losses, penalties = mean_over_rows(steps, sizes)
        return losses, penalties

    def _add_gradients(
        self,
        X: Tensor,
        y: Tensor,
        weight: Tensor | None,
        scores: Tensor,
        preactivations: list[Tensor],
        share: float,
    ) -> Tensor:
        """Add the gradients of the penalty, and return its values, without the strengths."""
        stack = cast(Perceptron, self.stack)
        seen = X, y, weight, scores, preactivations, self.generators[1]
        batch = Batch(stack, *seen, share=share, rows_are_scaled=stack.inverse_scale is not None)
        value, gradients = cast(Any, self.penalty.gradients(batch))
        for slope, gradient, factor in zip(self.stack.slopes, gradients, self.factors):
            if gradient is not None:
                slope.addcmul_(gradient, factor)
        return value

    def _watch(self) -> list[float] | None:
        """Return the share of right answers of each network on the rows to watch, or None without such."""
        if self.valid is None:
            return None
        right = RightAnswers()
        for X, y, weight in self.valid.batches(self.batch_size, scale=self.stack.inverse_scale):
            right.count(self.stack.scores(X), y, weight)
        return cast(list[float], right.share())

    def _judge(
        self, losses: np.ndarray, penalties: np.ndarray, accuracies: list[float] | None, share: float
    ) -> None:
        """Let the course of each network note the epoch, and take those out that are at their end."""
        settled = self.penalty.is_settled(share)
        for i, course in enumerate(self.courses):
            if i in self.outcomes:
                continue
            part = {self.label: float(penalties[i])}
            accuracy = None if accuracies is None else accuracies[i]
            try:
                if course.end_epoch(float(losses[i]), part, accuracy, settled=settled):
                    self.best[i] = self.stack.perceptron(i)
            except DivergedError as error:
                self.outcomes[i] = error
            if course.finished:
                self._end(i, stopped=True)

    def _end(self, i: int, *, stopped: bool) -> None:
        """Keep what came out of a network, if it is still in training."""
        if i not in self.outcomes:
            network = self.best[i] if i in self.best else self.stack.perceptron(i)
            self.outcomes[i] = Outcome(self.settings, network, self.courses[i], stopped=stopped)
