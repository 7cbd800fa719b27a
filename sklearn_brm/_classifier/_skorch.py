"""A skorch net that drives a training, for the user's callbacks."""

import dis
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import TracebackType
from typing import Any, Self, cast

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring
from skorch.dataset import Dataset
from torch import Tensor

from ..functional.penalties import weighted_mean
from ._batches import RightAnswers, Rows
from ._training import Training


def train_with_skorch(training: Training) -> None:
    """Train to the end, and let the callbacks hear of it."""
    settings, valid = training.settings, training.valid
    scale = training.network.inverse_scale if training.in_closed_form else None
    net = DrivingNet(
        training.network,
        training=training,
        criterion=torch.nn.CrossEntropyLoss,
        lr=training.rate,
        max_epochs=settings.max_iter,
        batch_size=training.batch_size,
        iterator_train=Batches,
        iterator_train__generator=training.generator,
        iterator_train__scale=scale,
        iterator_valid=Batches,
        train_split=None if valid is None else lambda dataset: (dataset, RowsOfSkorch(valid)),
        callbacks=list(settings.callbacks or ()),
        verbose=0,
        device=None,
    )
    net.initialize().partial_fit(RowsOfSkorch(training.train))


class TrainingStopped(KeyboardInterrupt):
    """Raised inside skorch's loop to end it early, where nothing went wrong and nobody pressed Ctrl-C."""


class RowsOfSkorch(Dataset):
    """`Rows` as a dataset that skorch passes on untouched."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows.X, rows.y)
        self.rows = rows


class Batches:
    """The batches of a dataset, in place of a DataLoader; rows with weights travel as a dict."""

    def __init__(
        self,
        dataset: RowsOfSkorch,
        batch_size: int,
        generator: torch.Generator | None = None,
        scale: Tensor | None = None,
    ) -> None:
        self.dataset = dataset
        self.settings = batch_size, generator, scale

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for X, y, weight in self.dataset.rows.batches(*self.settings):
            yield (X if weight is None else {"X": X, "weight": weight}), y


class DrivingNet(NeuralNetClassifier):
    """A skorch net whose steps and epochs are those of a `Training`.

    The module returns the scores and the pre-activations.
    """

    def __init__(self, *args: Any, training: Training, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.training = training

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring("valid_loss")),
            ("driver", Driver(self.training)),
        ]

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        """Take the optimizer of the training."""
        self.optimizer_ = self.training.make_optimizer()
        return self

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the module on a batch, without its weights."""
        return self.module_(_unpacked(x)[0])

    def get_loss(
        self, y_pred: tuple[Tensor, Any], y_true: Tensor, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the loss of a batch of rows to watch, on which no penalty counts."""
        losses = torch.nn.functional.cross_entropy(y_pred[0], y_true, reduction="none")
        return weighted_mean(losses, _unpacked(X)[1])

    def train_step_single(self, batch: tuple[Any, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Set the gradients of a batch."""
        X, weight = _unpacked(batch[0])
        loss, scores = self.training.set_gradients(X, batch[1], weight)
        return {"loss": loss, "y_pred": (scores, [])}

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the callbacks; one of them ends the training by raising KeyboardInterrupt."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as error:
            if came_from_outside(error):
                raise
            raise TrainingStopped from error
        if method_name == "on_epoch_end" and self.training.course.finished:
            raise TrainingStopped

    def partial_fit(self, *args: Any, **kwargs: Any) -> Self:
        """Train until the last epoch or until a callback says stop; note Ctrl-C for the caller."""
        with self._noting_the_end():
            super().partial_fit(*args, **kwargs)
        return self

    def fit_loop(self, *args: Any, **kwargs: Any) -> Self:
        """Train, and come back to `partial_fit`, which tells the callbacks of the end however it came."""
        with self._noting_the_end():
            super().fit_loop(*args, **kwargs)
        return self

    @contextmanager
    def _noting_the_end(self) -> Iterator[None]:
        try:
            yield
        except TrainingStopped:
            self.training.stopped = True
        except KeyboardInterrupt:
            self.training.interrupted = True


class Driver(Callback):
    """Tell a training when an epoch begins and how it ended."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def on_train_begin(self, net: DrivingNet, **kwargs: Any) -> None:
        """Begin the training."""
        self.training.begin()

    def on_train_end(self, net: DrivingNet, **kwargs: Any) -> None:
        """End it."""
        self.training.end()

    def on_epoch_begin(self, net: DrivingNet, **kwargs: Any) -> None:
        """Begin an epoch."""
        self._right = RightAnswers()
        self.training.begin_epoch()

    def on_batch_end(
        self, net: DrivingNet, batch: Any = None, training: bool = False, y_pred: Any = None, **kwargs: Any
    ) -> None:
        """Count the right answers on the rows to watch."""
        if not training:
            self._right.count(y_pred[0], batch[1], _unpacked(batch[0])[1])

    def on_epoch_end(self, net: DrivingNet, **kwargs: Any) -> None:
        """Let the training judge the epoch."""
        self.training.end_epoch(float(net.history[-1, "train_loss"]), self._right.share())


def _unpacked(x: Any) -> tuple[Tensor, Tensor | None]:
    """Return the rows of a batch and their weights or None."""
    return (x["X"], x["weight"]) if isinstance(x, dict) else (x, None)


def came_from_outside(interrupt: BaseException) -> bool:
    """Whether a KeyboardInterrupt is Ctrl-C, and not raised by the code that it surfaced in.

    Callbacks end the training with a `raise` statement; a signal strikes at any other instruction, or is
    raised by a handler that somebody installed.
    """
    # It was caught, so that it has been somewhere.
    trace = cast(TracebackType, interrupt.__traceback__)
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)
    if any(frame.f_code is handler for frame, _ in walk_tb(trace)):
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    # Before its first instruction a frame has the place -1.
    instruction = trace.tb_frame.f_code.co_code[max(trace.tb_lasti, 0)]
    return dis.opname[instruction] != "RAISE_VARARGS"
