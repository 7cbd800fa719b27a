"""From settings and rows to a trained network: batches, steps, and when to stop."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, cast

import numpy as np
import torch
from scipy.optimize import minimize

from .._base import as_tensor, check_factor, parameter_error, progress
from .._checkpoints import Checkpoint, checkpoint_of
from .._device import compute_dtype, fits_beside_the_work
from .._memory import with_smaller_batches
from ..functional.adam import Adam
from ..functional.backpropagation import backpropagate
from ..functional.penalties import weighted_mean
from ..functional.schedules import SCHEDULES, constant
from ._network import Perceptron, unfold
from ._regularizer import Regularizer
from ._rows import Arrays, Tensors, feature_scale
from .penalties import Penalty

_MAX_EPOCHS = 200
# Of a training that is planned: epochs, batches in each and updates at least; the sum of the rates, before
# they fall; a rate that is enough for many updates, and one for many features. Chosen by
# benchmarks/bench_defaults.py.
_PLANNED_EPOCHS, _PLANNED_BATCHES, _PLANNED_UPDATES, _WAY = 30, 16, 480, 4.8
_LOW_RATE, _LOWEST_RATE = 4e-3, 1e-3

# Of a training, besides the network, the optimizer and the generators: what the next epoch depends on.
_KEPT = ("losses", "penalties", "validation_scores", "finished", "best_score", "best_weights", "n_stale")

_GATHERED_ROWS = 2048
_ROWS_AT_A_TIME = 8192
# Of the solver for convex losses: a relative decrease that is rounding, and what it says at its limit.
_NO_PROGRESS, _AT_MAX_ITER = 64 * np.finfo(float).eps, 1


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained: what the parameters of a classifier say, as plain values."""

    name: str
    hidden_sizes: Sequence[int]
    power: float
    hidden_bias: bool
    batch_norm: bool
    init: str
    penalties: Mapping[str, Penalty]
    optimizer: str | Callable[..., Any]
    learning_rate: float | str
    schedule: str | Callable[[float], Any]
    batch_size: int | str
    max_iter: int | str
    tol: float | None
    n_iter_no_change: int
    callbacks: Sequence[Any] | None
    verbose: int
    device: torch.device
    knows_all_rows: bool = True
    ends_by_plan: bool = False

    @property
    def n_epochs(self) -> int:
        """How many epochs there are at most, once `planned` has said what "auto" is."""
        return int(self.max_iter)

    def for_chunk(self) -> "Settings":
        """Return the settings of one pass over a chunk of a stream."""
        optimizer = "adam" if self.optimizer == "lbfgs" else self.optimizer
        return replace(self, max_iter=1, tol=None, verbose=0, knows_all_rows=False, optimizer=optimizer)


@dataclass(frozen=True)
class State:
    """Where training goes on from: what `fold` returned, the optimizer's state or None, epochs so far."""

    coefs: Sequence[np.ndarray]
    intercepts: Sequence[np.ndarray]
    norm: dict[str, np.ndarray] | None
    optimizer_state: dict[str, Any] | None
    n_epochs: int


def train_network(
    settings: Settings,
    train: Arrays,
    valid: Arrays | None,
    generators: tuple[torch.Generator, torch.Generator],
    *,
    n_classes: int,
    scaler: Any,
    state: State | None,
) -> "Training":
    """Return the `Training` that is over, in smaller batches where memory ran out.

    Parameters
    ----------
    settings : Settings
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
    settings = planned(settings, *train[0].shape, begins=state is None and valid is None)

    def run(batch_size: int) -> Training:
        for generator in generators:
            # Back to the start, in case this is not the first try.
            generator.manual_seed(generator.initial_seed())
        network = _make_network(settings, train[0], n_classes, scaler, generators[0], state)
        regularizer = Regularizer(settings.penalties, network, generators[1])
        training = Training(
            settings, network, regularizer, train, valid, generators[0], state=state, batch_size=batch_size
        )
        return training.run()

    return with_smaller_batches(settings.name, run, rows_per_batch(settings.batch_size, len(train[0])))


def _make_network(
    settings: Settings,
    X: np.ndarray,
    n_classes: int,
    scaler: Any,
    generator: torch.Generator,
    state: State | None,
) -> Perceptron:
    sizes = [X.shape[1], *settings.hidden_sizes, 1 if n_classes == 2 else n_classes]
    mean, scale = None, None
    if scaler is not None:
        scale = feature_scale(scaler)
        # Without a bias in the first layer, nothing could take the centring back.
        if settings.hidden_bias or len(sizes) == 2:
            mean = scaler.mean_
    network = Perceptron(
        sizes,
        power=settings.power,
        hidden_bias=settings.hidden_bias,
        batch_norm=settings.batch_norm,
        mean=mean,
        scale=scale,
        dtype=compute_dtype(X.dtype, settings.device),
    )
    if state is None:
        network.initialize(generator, settings.init)
    else:
        _check_layers(sizes, state)
        unfold(network, state.coefs, state.intercepts, state.norm)
    return network.to(settings.device)


def _check_layers(sizes: list[int], state: State) -> None:
    present = [len(coef) for coef in state.coefs] + [len(state.intercepts[-1])]
    if sizes != present:
        raise ValueError(
            f"hidden_layer_sizes={tuple(sizes[1:-1])!r} does not fit the layers to go on with, of "
            f"{present[1:-1]} units. Set warm_start=False and call fit to start anew."
        )


def rows_per_batch(batch_size: int | str, n_rows: int) -> int:
    """Return `batch_size`, or what "auto" means for so many rows."""
    return min(200, max(32, n_rows // 8)) if isinstance(batch_size, str) else batch_size


def planned(settings: Settings, n_rows: int, n_features: int, *, begins: bool) -> Settings:
    """Return the settings with what "auto" means for `max_iter` and `schedule`.

    Where nothing says otherwise, a network with hidden layers takes few steps at a large rate that falls to
    zero, after which there is nothing left to wait for. Under a constant rate it would wait for the loss to
    come to rest, which takes several times as long on a small table, and learns noise by heart.
    """
    wanted = (settings.learning_rate, settings.max_iter, settings.schedule) == ("auto", "auto", "auto")
    # Powers of units are too steep for such steps; weights to go on from and rows to watch, which find an
    # end of their own, are better left to a constant rate.
    usual = settings.optimizer == "adam" and settings.hidden_sizes and settings.power == 1 and begins
    if not (wanted and usual and settings.knows_all_rows):
        epochs = _MAX_EPOCHS if settings.max_iter == "auto" else settings.max_iter
        schedule = "constant" if settings.schedule == "auto" else settings.schedule
        return replace(settings, max_iter=epochs, schedule=schedule)
    batch_size = settings.batch_size
    if isinstance(batch_size, str):
        batch_size = min(200, max(32, n_rows // _PLANNED_BATCHES))
    updates = math.ceil(n_rows / batch_size)
    epochs = min(_MAX_EPOCHS, max(_PLANNED_EPOCHS, math.ceil(_PLANNED_UPDATES / updates)))
    # A step of Adam moves the scores by up to rate times features, and by more the more layers it moves.
    rate = min(max(_LOW_RATE, _WAY / (epochs * updates)), 1 / n_features) / len(settings.hidden_sizes)
    rate = max(_LOWEST_RATE, rate)
    return replace(
        settings,
        batch_size=batch_size,
        max_iter=epochs,
        learning_rate=rate,
        schedule="linear",
        ends_by_plan=True,
    )


def automatic_rate(
    optimizer: str | Callable[..., Any], n_features: int, updates_per_epoch: float, *, is_linear: bool
) -> float:
    """Return the learning rate that "auto" means for the network and so many updates per epoch."""
    # A step of Adam moves the scores by up to rate times features: few features allow a larger rate, and
    # need one in a linear classifier. Few updates per epoch need one too, to arrive within max_iter epochs.
    usual = min(0.01, max(0.001, 0.5 / n_features)) if is_linear else 0.001
    if optimizer != "adam":
        return usual
    largest, reach, step = (0.2, 0.6, 2.0) if is_linear else (0.005, 0.05, 1.0)
    return max(usual, min(largest, reach / updates_per_epoch, step / n_features))


@dataclass(frozen=True)
class Rows:
    """Rows as tensors, which hand out batches on `device`, where they need not lie themselves."""

    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None
    device: torch.device

    @classmethod
    def for_network(
        cls, X: np.ndarray, codes: np.ndarray, weight: np.ndarray | None, network: Perceptron
    ) -> Self:
        """Return rows for the network, centred in the precision that they came in.

        They lie where it lies if there is room for them, and go there batch by batch otherwise.
        """
        device, dtype = network.weights[0].device, network.weights[0].dtype
        if network.mean is not None:
            X = X - network.mean.cpu().numpy().astype(X.dtype)
        home = device if fits_beside_the_work(X.nbytes, device) else "cpu"
        place = partial(as_tensor, device=home, dtype=dtype)
        weights = None if weight is None else place(weight)
        return cls(place(X), as_tensor(codes, device=home), weights, device)

    def __len__(self) -> int:
        return len(self.X)

    def arrays(self) -> list[np.ndarray]:
        """Return rows, codes and, where there are any, weights."""
        parts = [part for part in (self.X, self.y, self.weight) if part is not None]
        return [part.cpu().numpy() for part in parts]

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        scale: torch.Tensor | None = None,
    ) -> Iterator[Tensors]:
        """Yield X, y and weights or None of each batch.

        Parameters
        ----------
        batch_size : int
        generator : torch.Generator or None
            Shuffles the rows anew; without one they stay in order.
        scale : tensor of shape (n_features,) or None
            What to multiply the rows by.
        """
        for rows in self._chunks(batch_size, generator):
            X, y = (part[rows].to(self.device) for part in (self.X, self.y))
            X = X if scale is None else X * scale
            weights: Iterable[torch.Tensor | None] = [None] * len(y)
            if self.weight is not None:
                weights = self.weight[rows].to(self.device).split(batch_size)
            yield from zip(X.split(batch_size), y.split(batch_size), weights)

    def _chunks(self, batch_size: int, generator: torch.Generator | None) -> Iterable[Any]:
        """Yield the rows of a few batches at a time, since one gather is cheaper than one for each."""
        size = batch_size * max(1, _GATHERED_ROWS // batch_size)
        if generator is None:
            return (slice(start, start + size) for start in range(0, len(self), size))
        return torch.randperm(len(self), generator=generator).to(self.X.device).split(size)


class Training:
    """A network in training: what an epoch begins with, the gradients of a batch, how an epoch is judged.

    `run` goes through the epochs. Where the user has skorch callbacks, a skorch net does so, and calls the
    same methods.

    Parameters
    ----------
    settings : Settings
    network : Perceptron
    regularizer : Regularizer
    train, valid : tuples of X, codes and weights
        The rows to learn from, and those to watch, or None.
    generator : torch.Generator
        Orders the rows.
    state : State or None
        What was before.
    batch_size : int

    Attributes
    ----------
    losses, penalties, validation_scores : lists
        Of each epoch: the mean loss, a dict of what each penalty contributed to it, and the accuracy on the
        rows to watch.
    finished : bool
        Whether nothing improves any more.
    stopped, interrupted : bool
        Whether the training ended before its last epoch: by itself or a callback, or by Ctrl-C.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        settings: Settings,
        network: Perceptron,
        regularizer: Regularizer,
        train: Arrays,
        valid: Arrays | None,
        generator: torch.Generator,
        *,
        state: State | None,
        batch_size: int,
    ) -> None:
        self.settings = settings
        self.network = network
        self.regularizer = regularizer
        self.train = Rows.for_network(*train, network)
        self.valid = None if valid is None else Rows.for_network(*valid, network)
        self.generator = generator
        self.batch_size = batch_size
        self.in_closed_form = in_closed_form(network, regularizer)
        n_rows, n_features = self.train.X.shape
        self.rate = _rate(settings, n_rows, n_features, batch_size)
        self.optimizer_state = None if state is None else state.optimizer_state
        self.first_epoch = 0 if state is None else state.n_epochs
        self.losses: list[float] = []
        self.penalties: list[dict[str, float]] = []
        self.validation_scores: list[float] = []
        self.finished = self.stopped = self.interrupted = False
        self.best_score, self.n_stale = -math.inf, 0
        self.best_weights: dict[str, Any] | None = None
        # torch's lists of parameters take as long to walk through as a small step takes to compute.
        self._weights, self._biases = list(network.weights), list(network.biases)
        self._learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # Optimizers by name take one tensor, which is fast; those of users see the parameters themselves.
        self._trained = [network.flatten()] if isinstance(settings.optimizer, str) else self._learning
        for parameter in [*self._weights, *self._biases, *self._trained]:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        self._slopes = [(parameter, _slope(parameter)) for parameter in [*self._trained, *self._learning]]
        self._out = [_slope(parameter) for parameter in [*self._weights, *self._biases]]

    @property
    def epoch(self) -> int:
        """Number of epochs trained so far."""
        return self.first_epoch + len(self.losses)

    def run(self) -> Self:
        """Train to the end and return self."""
        if self.settings.callbacks:
            # Only here, since most trainings have no callbacks, and skorch takes time to import.
            from ._skorch import train_with_skorch

            train_with_skorch(self)
        elif self.settings.optimizer == "lbfgs":
            self._solve_convex()
        else:
            self.make_optimizer()
            self._train()
        return self

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer of this training, with the state of the one before, and return it."""
        given = self.settings.optimizer
        make = OPTIMIZERS[given] if isinstance(given, str) else given
        self.optimizer = make([{"params": self._trained}], lr=self.rate)
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            rule = "a callable that returns a torch.optim.Optimizer"
            raise parameter_error(self.settings.name, "optimizer", rule, self.optimizer, TypeError)
        if self.optimizer_state is not None:
            _restore(self.optimizer, self.optimizer_state)
        return self.optimizer

    def _train(self) -> None:
        checkpoint = self._checkpoint()
        self.begin()
        try:
            with checkpoint:
                while len(self.losses) < self.settings.n_epochs and not self.finished:
                    self.begin_epoch()
                    loss = self._learn()
                    self.end_epoch(loss, self._watch())
                    checkpoint.keep(self._state)
            self.stopped = self.finished
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
        return {name: getattr(self, name) for name in _KEPT} | {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [generator.get_state() for generator in self._generators],
        }

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take over what `_state` returned."""
        for name in _KEPT:
            setattr(self, name, state[name])
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
            if not self.losses:
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
        return float(np.average(torch.stack(losses).tolist(), weights=sizes))

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
        bar = {"total": n_epochs, "initial": len(self.losses)}
        self._bar: Any = progress(None, verbose=self.settings.verbose, description=name, **bar)

    def end(self) -> None:
        """Go back to the weights that were best on the rows to watch."""
        self._bar.close()
        if self.best_weights is not None:
            self.network.load_state_dict(self.best_weights)

    def begin_epoch(self) -> None:
        """Set the learning rate and let the penalties look at all rows."""
        share = len(self.losses) / self.settings.n_epochs
        self._set_rate(share)
        self.network.eval()
        batches = self.train.batches(self.batch_size)
        try:
            self.regularizer.start_epoch(batches, share if self.settings.knows_all_rows else 1.0)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise non_finite_error(self.settings.name, self.epoch + 1) from error

    def _set_rate(self, share: float) -> None:
        schedule = self.settings.schedule
        schedule = schedule if callable(schedule) else SCHEDULES[schedule]
        # A constant rate is left to the callbacks, which may change it.
        if schedule is constant:
            return
        when = f"the share {share:.3g} of epochs"
        rate = self.rate * check_factor(self.settings.name, "schedule", schedule(share), when)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

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
        if not np.isfinite(loss):
            raise non_finite_error(self.settings.name, self.epoch + 1)
        self.losses.append(loss)
        self.penalties.append(self.regularizer.end_epoch())
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4g}")
        if accuracy is not None:
            self.validation_scores.append(accuracy)
        # While a penalty grows, the loss rises though the training does what it shall.
        if not self.regularizer.is_settled:
            return
        is_best = self._judge(-loss if accuracy is None else accuracy)
        if is_best and accuracy is not None:
            self.best_weights = copy.deepcopy(self.network.state_dict())

    def _judge(self, score: float) -> bool:
        if self.settings.tol is not None:
            self.n_stale = self.n_stale + 1 if score < self.best_score + self.settings.tol else 0
            self.finished = self.n_stale > self.settings.n_iter_no_change
        is_best = score > self.best_score
        self.best_score = max(score, self.best_score)
        return is_best


class RightAnswers:
    """The weighted share of right answers, counted batch by batch."""

    def __init__(self) -> None:
        self._right, self._seen = 0.0, 0.0

    def count(self, scores: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None) -> None:
        """Take a batch in."""
        right = (scores.argmax(dim=1) == y).to(scores.dtype)
        weight = torch.ones_like(right) if weight is None else weight
        self._right += float(right @ weight)
        self._seen += float(weight.sum())

    def share(self) -> float | None:
        """Return the share so far, or None before any batch."""
        return self._right / self._seen if self._seen else None


def in_closed_form(network: Perceptron, regularizer: Regularizer) -> bool:
    """Whether gradients need no autograd: no penalty looks inside, nor is there a batch norm."""
    return not regularizer.looks_inside and network.norm is None


def _slope(parameter: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, parameter.grad)


def _rate(settings: Settings, n_rows: int, n_features: int, batch_size: int) -> float:
    if not isinstance(settings.learning_rate, str):
        return settings.learning_rate
    updates = math.ceil(n_rows / batch_size) if settings.knows_all_rows else math.inf
    return automatic_rate(settings.optimizer, n_features, updates, is_linear=not settings.hidden_sizes)


# "lbfgs" is no optimizer of torch: it is what "auto" means where there is one optimum.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


def _restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer, but for the learning rate, which may be another by now."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(as_tensors(state))
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate


def as_arrays(state: Any) -> Any:
    """Return a nested state of an optimiser with NumPy arrays for its tensors."""
    return _convert(state, torch.Tensor, lambda tensor: tensor.cpu().numpy().copy())


def as_tensors(state: Any) -> Any:
    """Undo `as_arrays`."""
    return _convert(state, np.ndarray, lambda array: torch.as_tensor(array.copy()))


def _convert(state: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    if isinstance(state, kind):
        return function(state)
    if isinstance(state, dict):
        return {key: _convert(value, kind, function) for key, value in state.items()}
    return [_convert(value, kind, function) for value in state] if isinstance(state, list) else state


def joined_penalties(
    before: dict[str, list[float]], n_before: int, epochs: Sequence[dict[str, float]]
) -> dict[str, list[float]]:
    """Return the curve of each penalty over `n_before` epochs and, in a dict each, further `epochs`.

    A penalty that was not there in an epoch counts as zero in it.
    """
    names = dict.fromkeys([*before, *(name for epoch in epochs for name in epoch)])
    return {
        name: before.get(name, [0.0] * n_before) + [epoch.get(name, 0.0) for epoch in epochs]
        for name in names
    }


def non_finite_error(owner: str, epoch: int) -> ValueError:
    """Build the error of a training that diverged in `epoch`, counted from 1."""
    return ValueError(
        f"The loss of {owner} is not finite in epoch {epoch}: training diverged. Try a smaller "
        "learning_rate, weaker penalties (alpha), a smaller power, or features of unit scale "
        "(standardize=True, or a StandardScaler before)."
    )
