"""The skorch net that the classifier owns while it trains: slicing batches, penalties, and when to stop."""

import copy
from functools import partial

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring
from skorch.dataset import Dataset
from torch.nn.functional import cross_entropy

from .._base import progress
from ..functional.penalties import weighted_mean
from ._regularizers import Batch


class TrainingStopped(Exception):
    """Raised inside the training loop to end it: nothing went wrong."""


class WeightedRows(Dataset):
    """Tensors of rows, labels and, where given, weights, that skorch passes on untouched."""

    def __init__(self, X, y, weight=None):
        super().__init__(X, y)
        self.weight = weight


class SlicingIterator:
    """Cut batches out of a dataset with one index operation each, in place of a DataLoader.

    Parameters
    ----------
    dataset : WeightedRows
    batch_size : int
    generator : torch.Generator or None
        Shuffles the rows anew on every pass; without one they stay in order.
    """

    def __init__(self, dataset, batch_size, generator=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __iter__(self):
        X, y, weight = self.dataset.X, self.dataset.y, getattr(self.dataset, "weight", None)
        n_rows = len(X)
        if self.generator is None:
            slices = (slice(start, start + self.batch_size) for start in range(0, n_rows, self.batch_size))
        else:
            order = torch.randperm(n_rows, generator=self.generator).to(X.device)
            slices = order.split(self.batch_size)
        for rows in slices:
            yield (X[rows] if weight is None else {"X": X[rows], "weight": weight[rows]}), y[rows]


class PenalizedNet(NeuralNetClassifier):
    """A skorch net whose training loss is the weighted cross-entropy plus the penalties.

    The module returns the scores and the pre-activations. Rows with weights travel as a dict.
    """

    def __init__(self, *args, regularizer, monitor, **kwargs):
        super().__init__(*args, **kwargs)
        self.regularizer = regularizer
        self.monitor = monitor

    @property
    def _default_callbacks(self):
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring("valid_loss")),
            ("monitor", self.monitor),
        ]

    def infer(self, x, **fit_params):
        """Run the module on a batch; its rows require a gradient where a penalty needs one."""
        rows, _ = _split_weight(x)
        if self.module_.training and self.regularizer.differentiates_input:
            rows.requires_grad_()
        return super().infer(rows, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch; the penalties count in training only."""
        rows, weight = _split_weight(X)
        scores, preactivations = y_pred
        losses = cross_entropy(scores, y_true, reduction="none")
        loss = weighted_mean(losses, weight)
        if not (training and self.regularizer.strengths):
            return loss
        batch = Batch(self.module_, rows, y_true, weight, losses, scores, preactivations)
        return loss + self.regularizer(batch)

    def notify(self, method_name, **kwargs):
        """Tell the callbacks; skorch's way for one of them to end the training is a KeyboardInterrupt."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as error:
            raise TrainingStopped from error
        if method_name == "on_epoch_end" and self.monitor.finished:
            raise TrainingStopped

    def fit_loop(self, *args, **kwargs):
        """Train until the last epoch or until a callback says stop; note Ctrl-C for the caller."""
        self.stopped_ = self.interrupted_ = False
        try:
            super().fit_loop(*args, **kwargs)
        except TrainingStopped:
            self.stopped_ = True
        except KeyboardInterrupt:
            self.interrupted_ = True
        return self


def _split_weight(x):
    return (x["X"], x["weight"]) if isinstance(x, dict) else (x, None)


def make_net(network, *, valid, optimizer, generator, callbacks, **settings):
    """Return an initialised net that will train `network` and watch the rows of `valid`, if there are any."""
    net = PenalizedNet(
        network,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer,
        iterator_train=SlicingIterator,
        iterator_train__generator=generator,
        iterator_valid=SlicingIterator,
        train_split=None if valid is None else lambda dataset: (dataset, valid),
        callbacks=list(callbacks or []),
        verbose=0,
        device=None,
        **settings,
    )
    return net.initialize()


def as_arrays(state):
    """Return a nested state of an optimiser with NumPy arrays for its tensors."""
    return _convert(state, torch.Tensor, lambda tensor: tensor.cpu().numpy().copy())


def as_tensors(state):
    """Undo `as_arrays`."""
    return _convert(state, np.ndarray, lambda array: torch.as_tensor(array.copy()))


def _convert(state, kind, function):
    if isinstance(state, kind):
        return function(state)
    if isinstance(state, dict):
        return {key: _convert(value, kind, function) for key, value in state.items()}
    return [_convert(value, kind, function) for value in state] if isinstance(state, list) else state


def adam(parameters, lr):
    """Return Adam in its fused form where this torch has one for the device."""
    try:
        return torch.optim.Adam(parameters, lr=lr, fused=True)
    except RuntimeError:
        return torch.optim.Adam(parameters, lr=lr)


OPTIMIZERS = {"adam": adam, "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True)}


class Monitor(Callback):
    """Set the learning rate, keep the curves and the best weights, and see when nothing improves any more.

    Parameters
    ----------
    owner : str
        Name of the estimator, for the error and the progress bar.
    rate : callable or None
        Learning rate by epoch, counted from 0 and `first_epoch` on; None leaves it alone.
    first_epoch : int
        Epochs trained before.
    tol : float or None
        Least improvement that counts, of the loss or of the accuracy on the validation rows. None never
        stops.
    patience : int
        Training stops after more than this number of epochs in a row without improvement.
    verbose : int
    """

    def __init__(self, owner, *, rate, first_epoch, tol, patience, verbose):
        self.owner = owner
        self.rate = rate
        self.first_epoch = first_epoch
        self.tol = tol
        self.patience = patience
        self.verbose = verbose
        self.finished = False
        self.losses, self.validation_scores, self.penalties = [], [], []
        self.best_score, self.best_weights = -np.inf, None
        self._n_stale = 0

    def on_train_begin(self, net, **kwargs):
        """Open the progress bar."""
        self._bar = progress(None, verbose=self.verbose, description=self.owner, total=net.max_epochs)

    def on_train_end(self, net, **kwargs):
        """Go back to the weights that were best on the validation rows."""
        self._bar.close()
        if self.best_weights is not None:
            net.module_.load_state_dict(self.best_weights)

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Set the learning rate and let the penalties look at all rows."""
        self._n_right, self._n_seen = 0.0, 0.0
        if self.rate is not None:
            for group in net.optimizer_.param_groups:
                group["lr"] = self.rate(self.first_epoch + len(self.losses))
        net.module_.eval()
        net.regularizer.start_epoch(net.module_, SlicingIterator(dataset_train, net.batch_size))

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **kwargs):
        """Count the right answers on the validation rows."""
        if training:
            return
        (_, weight), y = _split_weight(batch[0]), batch[1]
        right = (y_pred[0].argmax(dim=1) == y).double()
        weight = torch.ones_like(right) if weight is None else weight.double()
        self._n_right += float(right @ weight)
        self._n_seen += float(weight.sum())

    def on_epoch_end(self, net, **kwargs):
        """Note the loss, the penalties and the validation accuracy, and judge them."""
        loss = float(net.history[-1, "train_loss"])
        if not np.isfinite(loss):
            raise non_finite_error(self.owner, self.first_epoch + len(self.losses) + 1)
        self.losses.append(loss)
        self.penalties.append(net.regularizer.end_epoch())
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4g}")
        if self._n_seen == 0:
            self._judge(-loss)
        elif self._judge(self._validation_score()):
            self.best_weights = copy.deepcopy(net.module_.state_dict())

    def _validation_score(self):
        self.validation_scores.append(self._n_right / self._n_seen)
        return self.validation_scores[-1]

    def _judge(self, score):
        if self.tol is not None:
            self._n_stale = self._n_stale + 1 if score < self.best_score + self.tol else 0
            self.finished = self._n_stale > self.patience
        is_best = score > self.best_score
        self.best_score = max(score, self.best_score)
        return is_best


def non_finite_error(owner, epoch):
    """Build the error of a training that diverged in `epoch`, counted from 1."""
    return ValueError(
        f"The loss of {owner} is not finite in epoch {epoch}: training diverged. Try a smaller "
        "learning_rate_init, weaker penalties (alpha), a smaller power, or features of unit scale "
        "(standardize=True, or a StandardScaler before)."
    )
