"""From settings and rows to a trained network: batches, steps, and when to stop."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.optimize import minimize

from .._base import parameter_error, progress
from .._checkpoints import Checkpoint, checkpoint_of
from .._device import compute_dtype
from .._memory import with_smaller_batches
from ..functional.adam import Adam
from ..functional.backpropagation import backpropagate
from ..functional.penalties import weighted_mean
from ._batches import RightAnswers, Rows, mean_over_rows
from ._course import Course, Outcome, diverged
from ._network import Perceptron, unfold
from ._optimizers import OPTIMIZERS, as_arrays, restore
from ._plan import Settings, first_rate, rate_factor, rows_per_batch
from ._regularizer import Regularizer
from ._rows import Arrays, Tensors, feature_scale

_ROWS_AT_A_TIME = 8192
# Of the solver for convex losses: a relative decrease that is rounding, and what it says at its limit.
_NO_PROGRESS, _AT_MAX_ITER = 64 * np.finfo(float).eps, 1


@dataclass(frozen=True)
class State:
    """Where training goes on from: what `fold` returned, the optimizer's state or None, epochs so far."""

    coefs: Sequence[np.ndarray]
    intercepts: Sequence[np.ndarray]
    norm: dict[str, np.ndarray] | None
    optimizer_state: dict[str, Any] | None
    n_epochs: int


@dataclass(frozen=True)
class Task:
    """What there is to learn, and how.

    Attributes
    ----------
    settings : Settings
        After `planned`.
    train, valid : tuples of X, codes and weights
        The rows to learn from and those to watch, or None.
    generators : pair of torch.Generator
        The first draws the weights and the order of rows, the second what penalties need.
    n_classes : int
    scaler : StandardScaler or None
        That has seen the rows.
    state : State or None
        None starts from new weights.
    """

    settings: Settings
    train: Arrays
    valid: Arrays | None
    generators: tuple[torch.Generator, torch.Generator]
    n_classes: int
    scaler: Any
    state: State | None = None

    @property
    def batch_size(self) -> int:
        """Number of rows in a batch, as long as memory does not run out."""
        return rows_per_batch(self.settings.batch_size, len(self.train[0]))

    def network(self) -> Perceptron:
        """Return the network to begin with, and the generators at their start, also for a second try."""
        for generator in self.generators:
            generator.manual_seed(generator.initial_seed())
        settings, (X, *_) = self.settings, self.train
        sizes = [X.shape[1], *settings.hidden_sizes, 1 if self.n_classes == 2 else self.n_classes]
        mean, scale = None, None
        if self.scaler is not None:
            scale = feature_scale(self.scaler)
            # Without a bias in the first layer, nothing could take the centring back.
            if settings.hidden_bias or len(sizes) == 2:
                mean = self.scaler.mean_
        network = Perceptron(
            sizes,
            power=settings.power,
            hidden_bias=settings.hidden_bias,
            batch_norm=settings.batch_norm,
            mean=mean,
            scale=scale,
            dtype=compute_dtype(X.dtype, settings.device),
        )
        if self.state is None:
            network.initialize(self.generators[0], settings.init)
        else:
            _check_layers(sizes, self.state)
            unfold(network, self.state.coefs, self.state.intercepts, self.state.norm)
        return network.to(settings.device)


def train_network(task: Task) -> Outcome:
    """Return what comes out of a training, in smaller batches where memory runs out."""

    def run(batch_size: int) -> Outcome:
        network = task.network()
        regularizer = Regularizer(task.settings.penalties, network, task.generators[1])
        training = Training(task, network, regularizer, batch_size)
        return training.run()

    return with_smaller_batches(task.settings.name, run, task.batch_size)


def _check_layers(sizes: list[int], state: State) -> None:
    present = [len(coef) for coef in state.coefs] + [len(state.intercepts[-1])]
    if sizes != present:
        raise ValueError(
            f"hidden_layer_sizes={tuple(sizes[1:-1])!r} does not fit the layers to go on with, of "
            f"{present[1:-1]} units. Set warm_start=False and call fit to start anew."
        )


class Training:
    """A network in training: what an epoch begins with, the gradients of a batch, how an epoch is judged.

    `run` goes through the epochs. Where the user has skorch callbacks, a skorch net does so, and calls the
    same methods.

    Parameters
    ----------
    task : Task
    network : Perceptron
        To begin with.
    regularizer : Regularizer
    batch_size : int

    Attributes
    ----------
    course : Course
        Its epochs so far.
    stopped, interrupted : bool
        Whether the training ended before its last epoch: by itself or a callback, or by Ctrl-C.
    """

    def __init__(self, task: Task, network: Perceptron, regularizer: Regularizer, batch_size: int) -> None:
        settings, state = task.settings, task.state
        self.settings = settings
        self.network = network
        self.regularizer = regularizer
        self.train = Rows.for_network(*task.train, network)
        self.valid = None if task.valid is None else Rows.for_network(*task.valid, network)
        self.generator = task.generators[0]
        self.batch_size = batch_size
        self.in_closed_form = in_closed_form(network, regularizer)
        self.rate = first_rate(settings, self.train.X.shape, batch_size)
        self.optimizer_state = None if state is None else state.optimizer_state
        self.course = Course(settings, 0 if state is None else state.n_epochs)
        self.best_weights: dict[str, Any] | None = None
        self.optimizer: Any = None
        self.stopped = self.interrupted = False
        # torch's lists of parameters take as long to walk through as a small step takes to compute.
        self._weights, self._biases = list(network.weights), list(network.biases)
        self._learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # Optimizers by name take one tensor, which is fast; those of users see the parameters themselves.
        self._trained = [network.flatten()] if isinstance(settings.optimizer, str) else self._learning
        for parameter in [*self._weights, *self._biases, *self._trained]:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        self._slopes = [(parameter, _slope(parameter)) for parameter in [*self._trained, *self._learning]]
        self._out = [_slope(parameter) for parameter in [*self._weights, *self._biases]]

    def run(self) -> Outcome:
        """Train to the end."""
        if self.settings.callbacks:
            # Only here, since most trainings have no callbacks, and skorch takes time to import.
            from ._skorch import train_with_skorch

            train_with_skorch(self)
        elif self.settings.optimizer == "lbfgs":
            self._solve_convex()
        else:
            self.make_optimizer()
            self._train()
        return Outcome(
            self.settings, self.network, self.course, self.optimizer, self.stopped, self.interrupted
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer of this training, with the state of the one before, and return it."""
        given = self.settings.optimizer
        make = OPTIMIZERS[given] if isinstance(given, str) else given
        self.optimizer = make([{"params": self._trained}], lr=self.rate)
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            rule = "a callable that returns a torch.optim.Optimizer"
            raise parameter_error(self.settings.name, "optimizer", rule, self.optimizer, TypeError)
        if self.optimizer_state is not None:
            restore(self.optimizer, self.optimizer_state)
        return self.optimizer

    def _train(self) -> None:
        checkpoint = self._checkpoint()
        self.begin()
        try:
            with checkpoint:
                while len(self.course.losses) < self.settings.n_epochs and not self.course.finished:
                    self.begin_epoch()
                    loss = self._learn()
                    self.end_epoch(loss, self._watch())
                    checkpoint.keep(self._state)
            self.stopped = self.course.finished
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.end()

    def _checkpoint(self) -> Checkpoint:
        """Return the checkpoint of this training, and go on from it where there is one."""
        if not self.settings.knows_all_rows:
            return Checkpoint()
        checkpoint = checkpoint_of(self.settings.name, self._identity)
        if checkpoint.state is not None:
            self._go_on_from(checkpoint.state)
        return checkpoint

    @property
    def _generators(self) -> tuple[torch.Generator, torch.Generator]:
        return self.generator, self.regularizer.generator

    def _state(self) -> dict[str, Any]:
        """Return what the next epoch depends on, and what is told of those before, not copied."""
        return {
            "course": self.course.state(),
            "best_weights": self.best_weights,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [generator.get_state() for generator in self._generators],
        }

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take over what `_state` returned."""
        self.course.go_on_from(state["course"])
        self.best_weights = state["best_weights"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for generator, words in zip(self._generators, state["generators"]):
            generator.set_state(words)

    def _identity(self) -> dict[str, Any]:
        """Return everything that this training depends on, by what the user calls it."""
        settings = vars(self.settings).copy()
        for name in ("name", "callbacks", "verbose"):
            del settings[name]
        return settings | {
            "batch_size": self.batch_size,
            "device": self.settings.device.type,
            "X, y or sample_weight": [rows.arrays() for rows in (self.train, self.valid) if rows is not None],
            "first weights": as_arrays(self.network.state_dict()),
            "random_state": [generator.get_state().numpy() for generator in self._generators],
        }

    def _solve_convex(self) -> None:
        """Go to the optimum of a loss that has one, which steps by batches only come near."""
        self.begin()
        try:
            start = self._trained[0].detach().cpu().double().numpy()
            self.regularizer.start_epoch(iter(()), 1.0)
            # As in LogisticRegression: the largest entry of the gradient ends it, not a small step.
            options = {
                "maxiter": self.settings.max_iter,
                "gtol": (self.settings.tol or 0.0) / 10,
                "ftol": _NO_PROGRESS,
            }
            latest = math.nan

            def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
                nonlocal latest
                latest, gradient = self._loss_and_gradient(values)
                return latest, gradient

            # What was evaluated last is what an iteration ends with. The argument has a name of ours, since
            # scipy before 1.11 has the weights for it, and none the loss.
            found = minimize(
                evaluate,
                start,
                jac=True,
                method="L-BFGS-B",
                options=options,
                callback=lambda weights: self.end_epoch(latest),
            )
            self._loss_and_gradient(found.x)
            self.stopped = found.status != _AT_MAX_ITER
            if not self.course.losses:
                self.end_epoch(float(found.fun))
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.end()

    def _loss_and_gradient(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss over all rows, and its gradient, where the parameters have these values."""
        flat, gradient, total = self._trained[0], np.zeros_like(values), 0.0
        with torch.no_grad():
            flat.copy_(torch.from_numpy(values))
        self.regularizer.end_epoch()
        for batch in self.train.batches(_ROWS_AT_A_TIME, scale=self.network.inverse_scale):
            share = len(batch[1]) / len(self.train)
            loss, _ = self.set_gradients(*batch)
            total += share * float(loss)
            gradient += share * _slope(flat).cpu().double().numpy()
        return total, gradient

    def _learn(self) -> float:
        """Take a step for each batch, and return the mean loss."""
        scale = self.network.inverse_scale if self.in_closed_form else None
        losses, sizes = [], []
        for batch in self.train.batches(self.batch_size, self.generator, scale):
            losses.append(self._step(batch))
            sizes.append(len(batch[1]))
        return float(mean_over_rows(losses, sizes))

    def _step(self, batch: Tensors) -> torch.Tensor:
        if isinstance(self.optimizer, Adam):
            loss, _ = self.set_gradients(*batch)
            self.optimizer.update()
            return loss.detach()
        found: list[torch.Tensor] = []

        def closure() -> Any:
            found.append(self.set_gradients(*batch)[0])
            return found[-1]

        # Some optimizers ask for the loss more than once.
        self.optimizer.step(closure)
        return found[0].detach()

    @torch.no_grad()
    def _watch(self) -> float | None:
        """Return the share of right answers on the rows to watch, or None without such."""
        if self.valid is None:
            return None
        self.network.eval()
        right = RightAnswers()
        for X, y, weight in self.valid.batches(self.batch_size):
            right.count(self.network(X)[0], y, weight)
        return right.share()

    def begin(self) -> None:
        """Open the progress bar."""
        name, n_epochs = self.settings.name, self.settings.max_iter
        bar = {"total": n_epochs, "initial": len(self.course.losses)}
        self._bar: Any = progress(None, verbose=self.settings.verbose, description=name, **bar)

    def end(self) -> None:
        """Go back to the weights that were best on the rows to watch."""
        self._bar.close()
        if self.best_weights is not None:
            self.network.load_state_dict(self.best_weights)

    def begin_epoch(self) -> None:
        """Set the learning rate and let the penalties look at all rows."""
        share = len(self.course.losses) / self.settings.n_epochs
        self._set_rate(share)
        self.network.eval()
        batches = self.train.batches(self.batch_size)
        try:
            self.regularizer.start_epoch(batches, share if self.settings.knows_all_rows else 1.0)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise diverged(self.settings.name, self.course.epoch + 1) from error

    def _set_rate(self, share: float) -> None:
        factor = rate_factor(self.settings, share)
        # A constant rate is left to the callbacks, which may change it.
        if factor is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * factor

    def set_gradients(
        self, X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Set the gradients of all parameters for a batch, and return its loss and scores.

        In closed form the rows are those that are already scaled.
        """
        if not self.network.training:
            self.network.train()
        for parameter, gradient in self._slopes:
            # They may have been taken away, as optimizers do that set gradients to None.
            parameter.grad = gradient
        return (self._solve if self.in_closed_form else self._differentiate)(X, y, weight)

    def _solve(
        self, X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        network = self.network
        loss, scores, preactivations, *_ = backpropagate(
            X, y, self._weights, self._biases, network.power, weight, out=self._out
        )
        if self.regularizer.penalties:
            scaled = network.inverse_scale is not None
            batch = self.regularizer.batch(X, y, weight, scores, preactivations, scaled=scaled)
            loss = loss + self.regularizer.add_gradients(batch, self._out[: len(self._weights)])
        return loss, scores

    @torch.enable_grad()
    def _differentiate(
        self, X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.regularizer.differentiates_input:
            X.requires_grad_()
        scores, preactivations = self.network(X)
        batch = self.regularizer.batch(X, y, weight, scores, preactivations)
        loss = weighted_mean(batch.losses, weight)
        if self.regularizer.penalties:
            loss = loss + self.regularizer(batch)
        for _, gradient in self._slopes[: len(self._trained)]:
            gradient.zero_()
        # Of the parameters alone: a gradient of the rows would cost as much as that of the first weights.
        loss.backward(inputs=self._learning)
        return loss, scores

    def end_epoch(self, loss: float, accuracy: float | None = None) -> None:
        """Note the loss, the penalties and the accuracy on the rows to watch, if any, and judge them."""
        settled = self.regularizer.is_settled
        is_best = self.course.end_epoch(loss, self.regularizer.end_epoch(), accuracy, settled=settled)
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4g}")
        if is_best:
            self.best_weights = copy.deepcopy(self.network.state_dict())


def in_closed_form(network: Perceptron, regularizer: Regularizer) -> bool:
    """Whether gradients need no autograd: no penalty looks inside, nor is there a batch norm."""
    return not regularizer.looks_inside and network.norm is None


def _slope(parameter: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, parameter.grad)
