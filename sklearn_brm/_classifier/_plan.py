"""What the parameters of a classifier say as plain values, and what "auto" means for so many rows."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .._base import check_factor
from ..functional.schedules import SCHEDULES, constant
from .penalties import Penalty

_MAX_EPOCHS = 200
# Of a training that is planned: epochs, batches in each and updates at least; the sum of the rates, before
# they fall; a rate that is enough for many updates, and one for many features. Chosen by
# benchmarks/bench_defaults.py.
_PLANNED_EPOCHS, _PLANNED_BATCHES, _PLANNED_UPDATES, _WAY = 30, 16, 480, 4.8
_LOW_RATE, _LOWEST_RATE = 4e-3, 1e-3


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


def first_rate(settings: Settings, shape: Sequence[int], batch_size: int) -> float:
    """Return the learning rate at the start of a training on rows of this shape, before its schedule."""
    n_rows, n_features = shape
    if not isinstance(settings.learning_rate, str):
        return settings.learning_rate
    updates = math.ceil(n_rows / batch_size) if settings.knows_all_rows else math.inf
    return automatic_rate(settings.optimizer, n_features, updates, is_linear=not settings.hidden_sizes)


def rate_factor(settings: Settings, share: float) -> float | None:
    """Return what the schedule makes of the learning rate when `share` of the epochs is done.

    None where it is constant.
    """
    schedule = settings.schedule
    schedule = schedule if callable(schedule) else SCHEDULES[schedule]
    if schedule is constant:
        return None
    return check_factor(settings.name, "schedule", schedule(share), f"the share {share:.3g} of epochs")
