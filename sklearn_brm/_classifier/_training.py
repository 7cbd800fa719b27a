"""The skorch net that the classifier owns while it trains: slicing batches, penalties, and when to stop."""

import copy
import dis
import signal
from contextlib import contextmanager
from functools import partial
from itertools import chain
from traceback import walk_tb

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring
from skorch.dataset import Dataset

from .._base import parameter_error, progress
from ..functional.backpropagation import backpropagate
from ..functional.penalties import weighted_mean
from ._regularizer import split_weight

_GATHERED_ROWS = 2048


class TrainingStopped(KeyboardInterrupt):
    """Raised inside the training loop to end it early, where nothing went wrong and nobody pressed Ctrl-C."""


class WeightedRows(Dataset):
    """Tensors of rows, labels and, where given, weights, that skorch passes on untouched.

    Batches of them are handed out on `device`, which they need not lie on.
    """

    def __init__(self, X, y, weight=None, *, device):
        super().__init__(X, y)
        self.weight = weight
        self.device = device


class SlicingIterator:
    """Cut batches out of a dataset with one index operation each, in place of a DataLoader.

    Parameters
    ----------
    dataset : WeightedRows
    batch_size : int
    generator : torch.Generator or None
        Shuffles the rows anew on every pass; without one they stay in order.
    scale : tensor of shape (n_features,) or None
        What to multiply the rows by.
    """

    def __init__(self, dataset, batch_size, generator=None, scale=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.scale = scale

    def __iter__(self):
        data = [self.dataset.X, self.dataset.y, self.dataset.weight]
        for rows in self._chunks(len(self.dataset.X)):
            X, y, weight = (None if part is None else part[rows].to(self.dataset.device) for part in data)
            yield from self._cut(X if self.scale is None else X * self.scale, y, weight)

    def _chunks(self, n_rows):
        """Yield the rows of a few batches at a time, since one gather is cheaper than one for each."""
        size = self.batch_size * max(1, _GATHERED_ROWS // self.batch_size)
        if self.generator is None:
            return (slice(start, start + size) for start in range(0, n_rows, size))
        order = torch.randperm(n_rows, generator=self.generator)
        return order.to(self.dataset.X.device).split(size)

    def _cut(self, X, y, weight):
        for start in range(0, len(X), self.batch_size):
            rows = slice(start, start + self.batch_size)
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

    def initialize(self):
        """Find out which callbacks listen when: most do nothing at every batch, which may be short."""
        super().initialize()
        if not isinstance(self.optimizer_, torch.optim.Optimizer):
            rule = "a callable that returns a torch.optim.Optimizer"
            raise parameter_error(self.monitor.owner, "optimizer", rule, self.optimizer_, TypeError)
        self.parameters_ = list(self.module_.parameters())
        # torch's lists of parameters take as long to walk through as a small step takes to compute.
        self.weights_, self.biases_ = list(self.module_.weights), list(self.module_.biases)
        callbacks = [callback for _, callback in self.callbacks_]
        self.listeners_ = {
            event: [c for c in callbacks if getattr(type(c), event) is not getattr(Callback, event)]
            for event in vars(Callback)
            if event.startswith("on_")
        }
        return self

    def infer(self, x, **fit_params):
        """Run the module on a batch; its rows require a gradient where a penalty needs one."""
        rows, _ = split_weight(x)
        if self.module_.training and self.regularizer.differentiates_input:
            rows.requires_grad_()
        return self.module_(rows)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch; the penalties count in training only."""
        rows, weight = split_weight(X)
        scores, preactivations = y_pred
        batch = self.regularizer.batch(rows, y_true, weight, scores, preactivations)
        loss = weighted_mean(batch.losses, weight)
        return loss + self.regularizer(batch) if training and self.regularizer.penalties else loss

    def notify(self, method_name, **kwargs):
        """Tell the callbacks that listen; one of them ends the training by raising KeyboardInterrupt."""
        getattr(self, method_name)(self, **kwargs)
        try:
            for callback in self.listeners_[method_name]:
                getattr(callback, method_name)(self, **kwargs)
        except KeyboardInterrupt as error:
            if came_from_outside(error):
                raise
            raise TrainingStopped from error
        if method_name == "on_epoch_end" and self.monitor.finished:
            raise TrainingStopped

    def train_step_single(self, batch, **fit_params):
        """Set the gradients for a batch: in closed form where that is possible, on rows already scaled."""
        if not in_closed_form(self.module_, self.regularizer):
            return self._differentiated_step(batch)
        network = self.module_
        self._set_training(True)
        (rows, weight), y = split_weight(batch[0]), batch[1]
        loss, scores, preactivations, *gradients = backpropagate(
            rows, y, self.weights_, self.biases_, network.power, weight
        )
        for parameter, gradient in zip([*self.weights_, *self.biases_], chain(*gradients)):
            parameter.grad = gradient if parameter.requires_grad else None
        if self.regularizer.penalties:
            scaled = network.inverse_scale is not None
            batch = self.regularizer.batch(rows, y, weight, scores, preactivations, scaled=scaled)
            penalty = self.regularizer(batch)
            penalty.backward()
            loss = loss + penalty.detach()
        return {"loss": loss, "y_pred": (scores, [])}

    def _differentiated_step(self, batch):
        """Set the gradients of the parameters, as skorch does, and of nothing else.

        Rows that a penalty differentiates by would otherwise get a gradient of the whole loss, which costs as
        much as that of the first weights.
        """
        self._set_training(True)
        rows, y = batch
        y_pred = self.infer(rows)
        loss = self.get_loss(y_pred, y, X=rows, training=True)
        loss.backward(inputs=[parameter for parameter in self.parameters_ if parameter.requires_grad])
        return {"loss": loss, "y_pred": y_pred}

    def train_step(self, batch, **fit_params):
        """Update the weights, as skorch does, but without any work for callbacks that do not listen."""
        steps = []

        def closure():
            for parameter in self.parameters_:
                parameter.grad = None
            steps.append(self.train_step_single(batch))
            if self.listeners_["on_grad_computed"]:
                named_parameters = list(self.get_all_learnable_params())
                self.notify("on_grad_computed", named_parameters=named_parameters, batch=batch, training=True)
            return steps[-1]["loss"]

        self.optimizer_.step(closure)
        return steps[0]

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Go through the batches, as skorch does, whose counting of their rows takes longer than a step."""
        if iterator is None:
            return
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            self.history.record_batch(f"{prefix}_loss", step["loss"].item())
            self.history.record_batch(f"{prefix}_batch_size", len(batch[1]))
            self.notify("on_batch_end", batch=batch, training=training, **step)

    def _set_training(self, training=True):
        if self.module_.training is not training:
            super()._set_training(training)

    def partial_fit(self, *args, **kwargs):
        """Train until the last epoch or until a callback says stop; note Ctrl-C for the caller."""
        self.stopped_ = self.interrupted_ = False
        with self._noting_the_end():
            super().partial_fit(*args, **kwargs)
        return self

    def fit_loop(self, *args, **kwargs):
        """Train, and come back to `partial_fit`, which tells the callbacks of the end however it came."""
        with self._noting_the_end():
            super().fit_loop(*args, **kwargs)
        return self

    @contextmanager
    def _noting_the_end(self):
        try:
            yield
        except TrainingStopped:
            self.stopped_ = True
        except KeyboardInterrupt:
            self.interrupted_ = True


def came_from_outside(interrupt):
    """Whether a KeyboardInterrupt is Ctrl-C, and not raised by the code that it surfaced in.

    Callbacks end the training with a `raise` statement; a signal strikes at any other instruction, or is
    raised by a handler that somebody installed.
    """
    trace = interrupt.__traceback__
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)
    if any(frame.f_code is handler for frame, _ in walk_tb(trace)):
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    # Before its first instruction a frame has the place -1.
    instruction = trace.tb_frame.f_code.co_code[max(trace.tb_lasti, 0)]
    return dis.opname[instruction] != "RAISE_VARARGS"


def in_closed_form(network, regularizer):
    """Whether gradients need no autograd: no penalty looks inside, nor is there a batch norm."""
    return not regularizer.looks_inside and network.norm is None


def make_net(network, *, regularizer, valid, optimizer, generator, callbacks, **settings):
    """Return an initialised net that will train `network` and watch the rows of `valid`, if there are any."""
    net = PenalizedNet(
        network,
        regularizer=regularizer,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer,
        iterator_train=SlicingIterator,
        iterator_train__generator=generator,
        iterator_train__scale=network.inverse_scale if in_closed_form(network, regularizer) else None,
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


def adam(groups, lr):
    """Return Adam in its fused form where this torch has one for the device."""
    try:
        # Copies, since Adam writes its settings into the groups, and leaves them there where it refuses.
        return torch.optim.Adam([dict(group) for group in groups], lr=lr, fused=True)
    except RuntimeError:
        return torch.optim.Adam(groups, lr=lr)


OPTIMIZERS = {"adam": adam, "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True)}


class Monitor(Callback):
    """Set the learning rate, keep the curves and the best weights, and see when nothing improves any more.

    Parameters
    ----------
    owner : str
        Name of the estimator, for the error and the progress bar.
    rate : callable or None
        Learning rate by the share of epochs done, in [0, 1); None leaves it alone.
    first_epoch : int
        Epochs trained before.
    knows_end : bool
        Whether the epochs are all there will be, and not one chunk of a stream.
    tol : float or None
        Least improvement that counts, of the loss or of the accuracy on the validation rows. None never
        stops.
    patience : int
        Training stops after more than this number of epochs in a row without improvement.
    verbose : int
    """

    def __init__(self, owner, *, rate, first_epoch, knows_end, tol, patience, verbose):
        self.owner = owner
        self.rate = rate
        self.first_epoch = first_epoch
        self.knows_end = knows_end
        self.tol = tol
        self.patience = patience
        self.verbose = verbose
        self.finished = False
        self.losses, self.validation_scores, self.penalties = [], [], []
        self.best_score, self.best_weights = -np.inf, None
        self._n_stale = 0

    @property
    def epoch(self):
        """Number of epochs trained so far."""
        return self.first_epoch + len(self.losses)

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
        share = len(self.losses) / net.max_epochs
        if self.rate is not None:
            rate = self.rate(share)
            for group in net.optimizer_.param_groups:
                group["lr"] = rate
        net.module_.eval()
        try:
            batches = SlicingIterator(dataset_train, net.batch_size)
            net.regularizer.start_epoch(batches, share if self.knows_end else 1.0)
        except torch.linalg.LinAlgError as error:
            raise non_finite_error(self.owner, self.epoch + 1) from error

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **kwargs):
        """Count the right answers on the validation rows."""
        if training:
            return
        (_, weight), y = split_weight(batch[0]), batch[1]
        right = (y_pred[0].argmax(dim=1) == y).to(y_pred[0].dtype)
        weight = torch.ones_like(right) if weight is None else weight
        self._n_right += float(right @ weight)
        self._n_seen += float(weight.sum())

    def on_epoch_end(self, net, **kwargs):
        """Note the loss, the penalties and the validation accuracy, and judge them."""
        loss = float(net.history[-1, "train_loss"])
        if not np.isfinite(loss):
            raise non_finite_error(self.owner, self.epoch + 1)
        self.losses.append(loss)
        self.penalties.append(net.regularizer.end_epoch())
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4g}")
        score = -loss if self._n_seen == 0 else self._validation_score()
        # While a penalty grows, the loss rises though the training does what it shall.
        if net.regularizer.is_settled and self._judge(score) and self._n_seen > 0:
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
        "learning_rate, weaker penalties (alpha), a smaller power, or features of unit scale "
        "(standardize=True, or a StandardScaler before)."
    )
