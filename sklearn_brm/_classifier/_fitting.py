"""From settings and rows to a trained net: scale, network, batches and rate."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from .._base import check_factor
from .._device import compute_dtype
from .._memory import with_smaller_batches
from ..functional.schedules import SCHEDULES, constant
from ._network import Perceptron, unfold
from ._regularizer import Regularizer
from ._rows import as_dataset, feature_scale
from ._training import Monitor, as_tensors, make_net


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained: what the parameters of a classifier say, as plain values."""

    name: str
    hidden_sizes: Sequence[int]
    power: float
    hidden_bias: bool
    batch_norm: bool
    init: str
    penalties: dict
    optimizer: str | Callable
    learning_rate: float | str
    schedule: str | Callable
    batch_size: int | str
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    callbacks: Sequence | None
    verbose: int
    device: torch.device
    knows_all_rows: bool = True

    def for_chunk(self):
        """Return the settings of one pass over a chunk of a stream."""
        return replace(self, max_iter=1, tol=None, verbose=0, knows_all_rows=False)


@dataclass(frozen=True)
class State:
    """Where training goes on from: what `fold` returned, the optimizer's state or None, epochs so far."""

    coefs: Sequence[np.ndarray]
    intercepts: Sequence[np.ndarray]
    norm: dict | None
    optimizer_state: dict | None
    n_epochs: int


def train_net(settings, train, valid, generators, *, n_classes, scaler, state):
    """Return the net after training, in smaller batches where memory runs out.

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

    def run(batch_size):
        for generator in generators:
            # Back to the start, in case this is not the first try.
            generator.manual_seed(generator.initial_seed())
        network = _make_network(settings, train[0], n_classes, scaler, generators[0], state)
        regularizer = Regularizer(settings.penalties, network, generators[1])
        return _train_once(settings, network, regularizer, train, valid, generators[0], state, batch_size)

    n_rows = rows_per_batch(settings.batch_size, len(train[0]))
    return with_smaller_batches(settings.name, run, n_rows)


def _train_once(settings, network, regularizer, train, valid, generator, state, batch_size):
    n_rows, n_features = train[0].shape
    rate = settings.learning_rate
    if rate == "auto":
        updates = math.ceil(n_rows / batch_size) if settings.knows_all_rows else math.inf
        rate = automatic_rate(settings.optimizer, n_features, updates, is_linear=not settings.hidden_sizes)
    net = make_net(
        network,
        valid=None if valid is None else as_dataset(*valid, network),
        optimizer=settings.optimizer,
        lr=rate,
        max_epochs=settings.max_iter,
        batch_size=batch_size,
        generator=generator,
        callbacks=settings.callbacks,
        regularizer=regularizer,
        monitor=_make_monitor(settings, rate, 0 if state is None else state.n_epochs),
    )
    if state is not None and state.optimizer_state is not None:
        _restore(net.optimizer_, state.optimizer_state)
    return net.partial_fit(as_dataset(*train, network))


def _restore(optimizer, state):
    """Load the state of an optimizer, but for the learning rate, which may be another by now."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(as_tensors(state))
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate


def update_scaler(name, scaler, X, weight):
    """Return a copy of the scaler after it saw the rows, a new one for None; `name` is for the error."""
    scaler = StandardScaler() if scaler is None else copy.deepcopy(scaler)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler.partial_fit(X, sample_weight=weight)
    if not np.isfinite(scaler.var_).all():
        raise ValueError(
            f"The variance of a column of X overflows float64 in {name}: divide the column "
            "by its largest value first."
        )
    return scaler


def _make_network(settings, X, n_classes, scaler, generator, state):
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


def _check_layers(sizes, state):
    present = [len(coef) for coef in state.coefs] + [len(state.intercepts[-1])]
    if sizes != present:
        raise ValueError(
            f"hidden_layer_sizes={tuple(sizes[1:-1])!r} does not fit the layers to go on with, of "
            f"{present[1:-1]} units. Set warm_start=False and call fit to start anew."
        )


def rows_per_batch(batch_size, n_rows):
    """Return `batch_size`, or what "auto" means for so many rows."""
    return min(200, max(32, n_rows // 8)) if batch_size == "auto" else batch_size


def automatic_rate(optimizer, n_features, updates_per_epoch, *, is_linear):
    """Return the learning rate that "auto" means for the network and so many updates per epoch."""
    # A step of Adam moves the scores by up to rate times features: few features allow a larger rate, and
    # need one in a linear classifier. Few updates per epoch need one too, to arrive within max_iter epochs.
    usual = min(0.01, max(0.001, 0.5 / n_features)) if is_linear else 0.001
    if optimizer != "adam":
        return usual
    largest, reach, step = (0.2, 0.6, 2.0) if is_linear else (0.005, 0.05, 1.0)
    return max(usual, min(largest, reach / updates_per_epoch, step / n_features))


def _make_monitor(settings, rate, first_epoch):
    schedule = settings.schedule if callable(settings.schedule) else SCHEDULES[settings.schedule]

    def rate_at(share):
        factor = schedule(share)
        return rate * check_factor(settings.name, "schedule", factor, f"the share {share:.3g} of epochs")

    return Monitor(
        settings.name,
        # A constant rate is left to the callbacks, which may change it.
        rate=None if schedule is constant else rate_at,
        first_epoch=first_epoch,
        knows_end=settings.knows_all_rows,
        tol=settings.tol,
        patience=settings.n_iter_no_change,
        verbose=settings.verbose,
    )


def joined_penalties(before, n_before, epochs):
    """Return the curve of each penalty over `n_before` epochs and, in a dict each, further `epochs`.

    A penalty that was not there in an epoch counts as zero in it.
    """
    names = dict.fromkeys([*before, *(name for epoch in epochs for name in epoch)])
    return {
        name: before.get(name, [0.0] * n_before) + [epoch.get(name, 0.0) for epoch in epochs]
        for name in names
    }
