"""From the parameters of a classifier and its rows to a trained net: scale, network, batches and rate."""

import copy
import math
from functools import partial

import numpy as np
from sklearn.preprocessing import StandardScaler

from .._base import check_factor, resolve_device, with_smaller_batches
from .._device import compute_dtype
from ._checks import hidden_sizes
from ._network import Perceptron, unfold
from ._regularizers import Regularizer
from ._rows import as_dataset, feature_scale
from ._training import Monitor, as_tensors, make_net


def train_net(owner, train, valid, generators, *, resumes, incremental):
    """Return the net after training, in smaller batches where memory runs out.

    Parameters
    ----------
    owner : RegularizedClassifier
        With its classes and its scaler; with its weights too, where training `resumes`.
    train, valid : tuples of X, codes and weights
        The rows to learn from and those to watch, or None.
    generators : pair of torch.Generator
        The first draws the weights and the order of rows, the second what penalties need.
    resumes : bool
        Whether to go on from the present weights.
    incremental : bool
        Whether this is one pass over a chunk of a stream.
    """
    run = partial(_train_once, owner, train, valid, generators, resumes, incremental)
    return with_smaller_batches(owner, run, rows_per_batch(owner, len(train[0])))


def _train_once(owner, train, valid, generators, resumes, incremental, batch_size):
    for generator in generators:
        # Back to the start, in case this is not the first try.
        generator.manual_seed(generator.initial_seed())
    network = _make_network(owner, train[0], generators[0], resumes)
    rate = initial_rate(owner, math.inf if incremental else math.ceil(len(train[0]) / batch_size))
    net = make_net(
        network,
        valid=None if valid is None else as_dataset(*valid, network),
        optimizer=owner.optimizer,
        lr=rate,
        max_epochs=1 if incremental else owner.max_iter,
        batch_size=batch_size,
        generator=generators[0],
        callbacks=owner.callbacks,
        regularizer=Regularizer(owner, network.n_hidden, generators[1]),
        monitor=_make_monitor(owner, rate, resumes, incremental),
    )
    if incremental and resumes and owner._optimizer_state is not None:
        net.optimizer_.load_state_dict(as_tensors(owner._optimizer_state))
    return net.partial_fit(as_dataset(*train, network))


def update_scaler(owner, scaler, X, weight):
    """Return a copy of the scaler after it saw the rows, a new one for None."""
    scaler = StandardScaler() if scaler is None else copy.deepcopy(scaler)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler.partial_fit(X, sample_weight=weight)
    if not np.isfinite(scaler.var_).all():
        raise ValueError(
            f"The variance of a column of X overflows float64 in {type(owner).__name__}: divide the column "
            "by its largest value first."
        )
    return scaler


def _make_network(owner, X, generator, resumes):
    n_classes = len(owner.classes_)
    sizes = [X.shape[1], *hidden_sizes(owner), 1 if n_classes == 2 else n_classes]
    device = resolve_device(owner, owner.device)
    mean, scale = None, None
    if owner._scaler is not None:
        scale = feature_scale(owner._scaler)
        # Without a bias in the first layer, nothing could take the centring back.
        if owner.hidden_bias or len(sizes) == 2:
            mean = owner._scaler.mean_
    network = Perceptron(
        sizes,
        power=owner.power,
        hidden_bias=owner.hidden_bias,
        batch_norm=owner.batch_norm,
        mean=mean,
        scale=scale,
        dtype=compute_dtype(X.dtype, device),
    )
    if resumes:
        _check_layers(owner, sizes)
        unfold(network, owner.coefs_, owner.intercepts_, owner._norm)
    else:
        network.initialize(generator, owner.init)
    return network.to(device)


def _check_layers(owner, sizes):
    present = [len(coef) for coef in owner.coefs_] + [len(owner.intercepts_[-1])]
    if sizes != present:
        raise ValueError(
            f"hidden_layer_sizes={owner.hidden_layer_sizes!r} does not fit the layers to go on with, of "
            f"{present[1:-1]} units. Set warm_start=False and call fit to start anew."
        )


def rows_per_batch(owner, n_rows):
    """Return `batch_size`, or what "auto" means for so many rows."""
    return min(200, max(32, n_rows // 8)) if owner.batch_size == "auto" else owner.batch_size


def initial_rate(owner, updates_per_epoch):
    """Return `learning_rate_init`, or what "auto" means for the network and so many updates per epoch."""
    if owner.learning_rate_init != "auto":
        return owner.learning_rate_init
    # A step of Adam moves the scores by up to rate times features: few features allow a larger rate, and
    # need one in a linear classifier. Few updates per epoch need one too, to arrive within max_iter epochs.
    n_features = owner.n_features_in_
    is_linear = not hidden_sizes(owner)
    usual = min(0.01, max(0.001, 0.5 / n_features)) if is_linear else 0.001
    if owner.optimizer != "adam":
        return usual
    largest, reach, step = (0.2, 0.6, 2.0) if is_linear else (0.005, 0.05, 1.0)
    return max(usual, min(largest, reach / updates_per_epoch, step / n_features))


def _make_monitor(owner, rate, resumes, incremental):
    def rate_of(epoch):
        return rate * check_factor(owner, "learning_rate", owner.learning_rate(epoch), f"epoch {epoch}")

    return Monitor(
        type(owner).__name__,
        rate=rate_of if callable(owner.learning_rate) else None,
        first_epoch=owner.n_iter_ if resumes else 0,
        tol=None if incremental else owner.tol,
        patience=owner.n_iter_no_change,
        verbose=0 if incremental else owner.verbose,
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
