"""The classifier as scikit-learn sees it: parameters, data, weights as NumPy arrays, predictions."""

from __future__ import annotations

import copy
import inspect
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from .._base import (
    SparseMatrix,
    any_device,
    any_seed,
    callable_or,
    check_number,
    check_parameters,
    integer,
    number,
    one_of,
    parameter_error,
    resolve_device,
    seeded_generator,
    torch_generator,
    with_plain_numbers,
)
from .._memory import dense
from ..functional.schedules import SCHEDULES
from ._course import Course, DivergedError, Outcome, diverged, joined_penalties
from ._network import fold
from ._optimizers import OPTIMIZERS, as_arrays
from ._perceptron import PerceptronClassifier
from ._plan import Settings, planned
from ._rows import keep_weighted, row_weights, split_rows, update_scaler
from ._stack import stackable, train_stack
from ._training import State, Task, train_network
from .penalties import L2, any_penalty, penalties_by_label

if TYPE_CHECKING:
    from ._rows import Arrays
    from .penalties._base import Penalty

_Fitted = TypeVar("_Fitted")
_WITHOUT_OPTIMUM = (
    " Without a penalty, the loss of a linear classifier may fall for ever; under penalty='l2' alone it has "
    "an optimum, which optimizer='auto' goes to."
)


def _or_diverged(fit: Callable[[], _Fitted]) -> _Fitted | DivergedError:
    """Return what a training gives, or the error of one that diverged."""
    try:
        return fit()
    except DivergedError as error:
        return error


def layer_sizes(owner: object, name: str, value: Any) -> list[int]:
    """Return the numbers of units of the hidden layers as a list, or raise."""
    try:
        sizes = [value] if isinstance(value, numbers.Integral) else list(value)
        for size in sizes:
            check_number(owner, name, size, "[1, inf)", kind=numbers.Integral)
    except (TypeError, ValueError) as error:
        rule = "an int in [1, inf) or a tuple of such, empty for a linear classifier"
        raise parameter_error(owner, name, rule, value, type(error)) from None
    return [int(size) for size in sizes]


def _automatic_optimizer(plain: Any, hidden_sizes: list[int], penalties: Mapping[str, Penalty]) -> str:
    """Return what "auto" means: a solver where the loss has one optimum, and nothing asks for epochs."""
    untouched = (plain.learning_rate, plain.batch_size) == ("auto", "auto")
    untouched = untouched and plain.schedule in ("auto", "constant")
    by_epochs = plain.early_stopping or plain.callbacks or plain.batch_norm
    # A subclass may be anything.
    convex = penalties and all(type(penalty) is L2 and penalty.alpha > 0 for penalty in penalties.values())
    return "lbfgs" if convex and untouched and not (hidden_sizes or by_epochs) else "adam"


def class_weights(owner: object, name: str, value: Any) -> None:
    """Check weights by label, "balanced" or None."""
    if isinstance(value, dict):
        for label, weight in value.items():
            check_number(owner, f"{name}[{label!r}]", weight, "[0, inf)")
    elif value is not None and not (isinstance(value, str) and value == "balanced"):
        raise parameter_error(owner, name, "'balanced', a dict of weights by label or None", value)


def skorch_callbacks(owner: object, name: str, value: Any) -> None:
    """Check a list of skorch callbacks or None."""
    if value is None:
        return
    rule = "a list of skorch callbacks or None"
    if not isinstance(value, (list, tuple)):
        raise parameter_error(owner, name, rule, value)
    for item in value:
        if not _is_callback(item):
            rule += ", each an instance, a class that needs no argument, or a pair of a name and such"
            raise parameter_error(owner, name, rule, item, TypeError)


def _is_callback(item: Any) -> bool:
    # Only here, since skorch takes time to import.
    from skorch.callbacks import Callback

    if isinstance(item, (list, tuple)):
        return len(item) == 2 and isinstance(item[0], str) and _is_callback(item[1])
    if not isinstance(item, type):
        return isinstance(item, Callback)
    if not issubclass(item, Callback):
        return False
    required = [p for p in inspect.signature(item).parameters.values() if p.default is p.empty]
    return all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required)


class RegularizedClassifier(PerceptronClassifier):
    """A perceptron, or a linear classifier, trained under penalties that buy robustness.

    The loss is the cross-entropy plus any sum of penalties: on the weights, on the Jacobian of the
    representation or of the logits, on the spectrum of the representation, on the gradient of the loss with
    respect to the input, on adversarial examples, or on the worst that a box around each row can hold.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=(100,)
        Units of each hidden layer. ``()`` is a linear classifier, such as the head on the features of a
        `WTAEncoder`.
    penalty : str, Penalty, list of such or None, default=None
        What is added to the loss: objects of `sklearn_brm.penalties`, or of a class of your own that derives
        from `Penalty`. The words "l1", "l2", "jacobian", "spectral", "input_gradient", "adversarial",
        "interval" and "linear_relaxation" stand for an object with its defaults.
    alpha : float or "auto", default="auto"
        Strength of the penalty where there is one, in place of its own `alpha`. "auto" leaves it to the
        penalty, and is all there is where `penalty` is None or a list.
    power : float, default=1.0
        Exponent n >= 1 of the rectifier ``max(0, u) ** n`` of the hidden layers.
    standardize : bool, default=True
        Whether training sees centred and scaled features. The weights are translated back, so that `coefs_`
        and `intercepts_` apply to the features as they are. See the Notes.
    hidden_bias : bool, default=True
        Whether hidden layers have intercepts.
    init : {"glorot", "he"}, default="glorot"
        Variance of the first weights: 2 / (n_inputs + n_outputs) of each layer, or 2 / n_inputs (1 /
        n_inputs in the last layer). A linear classifier starts at zero.
    batch_norm : bool, default=False
        Whether the activations of the last hidden layer, or without one the features, are normalised by
        batch. After training this is merged into the last layer.
    optimizer : {"auto", "adam", "sgd"} or callable, default="auto"
        "auto" is "adam", but for a linear classifier under "l2" alone. There the loss has one optimum, and
        L-BFGS goes to it, with iterations for epochs, until no entry of the gradient is above ``tol / 10``;
        unless one of `learning_rate`, `batch_size`, `schedule`, `early_stopping`, `callbacks` and
        `batch_norm` is set, which need batches or epochs. "sgd" has Nesterov momentum 0.9. A callable gets
        the parameters and ``lr=`` and returns a torch optimizer, such as ``torch.optim.AdamW`` or a
        `functools.partial` of it.
    learning_rate : float or "auto", default="auto"
        Learning rate at the start; "auto" leaves it to the plan below. Where there is none it is 0.001, and
        more where an epoch holds few updates or a row few features:
        ``min(0.005, 0.05 / n_updates_per_epoch, 1 / n_features)``, or for a linear classifier
        ``min(0.2, 0.6 / n_updates_per_epoch, 2 / n_features)``, and at least ``min(0.01, 0.5 / n_features)``.
        `partial_fit`, which does not know how many updates will come, and optimizers other than "adam" keep
        to 0.001, or for a linear classifier the last of these.
    schedule : {"auto", "constant", "linear", "cosine"} or callable, default="auto"
        Factor of the learning rate in each epoch: 1, falling from 1 to 0 over the `max_iter` epochs in a line
        or along half a cosine, or a function of the share of epochs done, in [0, 1), that returns 0 or more,
        such as those in `sklearn_brm.functional.schedules`. `partial_fit` stays where the schedule starts.
        "auto" is "linear" in a planned training, see below, and else "constant".
    batch_size : int or "auto", default="auto"
        Rows per update. "auto" is an eighth of the rows, or in a planned training a sixteenth, at least 32
        and at most 200.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. Where `learning_rate`, `schedule` and `max_iter` are all "auto", `fit` of a
        network with hidden layers of `power` 1 under "adam", without `early_stopping` and without weights to
        go on from, is planned: 30 epochs, or as many as hold 480 updates, at most 200, of a rate that starts
        at ``4.8 / n_updates``, at least 0.004, at most ``1 / n_features``, both divided by the number of
        hidden layers, never below 0.001, and falls in a line to zero. Else "auto" is 200.
    tol : float or None, default=1e-4
        Training stops when the loss (with `early_stopping` the validation accuracy) has not improved by `tol`
        for more than `n_iter_no_change` epochs in a row, not counting those in which a penalty still grows,
        such as "interval". None trains for `max_iter` epochs.
    n_iter_no_change : int, default=10
        See `tol`.
    early_stopping : bool, default=False
        Whether to set rows aside, stop by the accuracy on them and keep the weights that were best on them.
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` sets aside.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes by label.
    callbacks : list of skorch callbacks or None, default=None
        Where there are any, a skorch net does the training, to the same bits, and they are passed to it.
        One that raises `KeyboardInterrupt` ends the training, as skorch's `EarlyStopping` does.
    device : str or torch.device, default="auto"
        Where torch computes. "auto" takes a GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights, the order of the rows, the rows set aside and random projections.
    verbose : int, default=0
        Whether to show a progress bar.
    warm_start : bool, default=False
        Whether `fit` goes on from the present weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coefs_ : list of ndarrays
        Weights of each layer, of shape (n_inputs, n_outputs). Two classes have one output.
    intercepts_ : list of ndarrays
        Intercepts of each layer, of shape (n_outputs,); zeros for hidden layers without.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights, as other linear models show them. Only without hidden layers.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts. Only without hidden layers.
    loss_ : float
        Loss in the last epoch, penalties included.
    loss_curve_ : list of float
        Mean loss of each epoch.
    penalties_ : dict of lists
        What each penalty contributed to `loss_curve_`, its strength included, by the name of its class in
        small letters, such as "input_gradient"; a second one of a class is "jacobian (2)".
    validation_scores_ : list of float
        Accuracy on the rows set aside after each epoch; empty without `early_stopping`.
    n_iter_ : int
        Epochs trained since the weights were drawn.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had any.

    See Also
    --------
    paper_recipe : The settings of the published models.
    WTAEncoder : Features learned without labels.
    sklearn.neural_network.MLPClassifier : A perceptron with an l2 penalty only.

    Notes
    -----
    Each class of `sklearn_brm.penalties` says what it adds, times its strength. All means there are over the
    rows of a batch; z are the logits, u = W x + b the pre-activations of the (last) hidden layer, f(u) =
    max(0, u)^n its activations and V the weights that follow.

    **Coordinates.** Every penalty is measured in the user's features, whatever `standardize` does inside:
    "l1" and "l2" on what `coefs_` shows (with `batch_norm`, before that is merged into the last layer),
    Jacobians, input gradients and the radii of "adversarial" and "interval" with respect to x as it was
    given. So a linear classifier with "l2" has the optimum of ``LogisticRegression(C=1 / (2 * n_samples *
    alpha))``.
    `standardize` changes the way to the optimum only: features are centred, which needs a first layer with
    intercept, and divided by their standard deviation or by the median one of all features, whichever is
    larger. A feature that hardly varies is thus never blown up: dividing every feature by its own deviation,
    as `StandardScaler` does, cost nearly all robustness on images with nearly constant pixels. Only features
    in different units, of which one has more than 10 times the median deviation or a quarter less than a
    thousandth of it, are divided by their own.

    Training runs in the precision of X, float32 or float64; float32 is faster. The fitted state is NumPy
    only. Callbacks that stop the training do so without a warning. After Ctrl-C the estimator is fitted as
    far as the training got, and the interrupt is raised again.

    `sample_weight` weighs the loss and all penalties but "l1" and "l2", which do not look at rows; batch
    normalisation ignores it.

    The same `random_state` gives the same bits on the same kind of processor with the same number of threads.
    With another number, sums are taken in another order, and the weights agree to rounding only.

    References
    ----------
    .. [1] Holzhausen et al., "Exploring Biologically Inspired Mechanisms of Adversarial Robustness", Neural
       Computing and Applications, 2025. :doi:`10.1007/s00521-025-11019-6`

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_brm import RegularizedClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = RegularizedClassifier((20,), penalty="jacobian", tol=None, random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.9
    True
    >>> from sklearn_brm.penalties import L2, Jacobian
    >>> classifier.set_params(penalty=[Jacobian(of="logits", alpha=1e-2), L2(1e-4)]).fit(X, y)
    RegularizedClassifier(...)
    >>> sorted(classifier.penalties_)
    ['jacobian', 'l2']
    """

    # Once more, since it is here that they are set.
    classes_: np.ndarray
    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    loss_curve_: list[float]
    penalties_: dict[str, list[float]]
    validation_scores_: list[float]
    loss_: float
    n_iter_: int
    _scaler: Any

    _parameter_rules = MappingProxyType(
        {
            "hidden_layer_sizes": layer_sizes,
            "penalty": any_penalty,
            "alpha": number("[0, inf)", "auto"),
            "power": number("[1, inf)"),
            "standardize": one_of(True, False),
            "hidden_bias": one_of(True, False),
            "init": one_of("glorot", "he"),
            "batch_norm": one_of(True, False),
            "optimizer": callable_or("auto", *OPTIMIZERS),
            "learning_rate": number("(0, inf)", "auto"),
            "schedule": callable_or("auto", *SCHEDULES),
            "batch_size": integer("[1, inf)", "auto"),
            "max_iter": integer("[1, inf)", "auto"),
            "tol": number("[0, inf)", None),
            "n_iter_no_change": integer("[1, inf)"),
            "early_stopping": one_of(True, False),
            "validation_fraction": number("(0, 1)"),
            "class_weight": class_weights,
            "callbacks": skorch_callbacks,
            "device": any_device,
            "random_state": any_seed,
            "verbose": integer("[0, inf)", True, False),
            "warm_start": one_of(True, False),
        }
    )

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        penalty: str | Penalty | Sequence[str | Penalty] | None = None,
        alpha: float | str = "auto",
        power: float = 1.0,
        standardize: bool = True,
        hidden_bias: bool = True,
        init: str = "glorot",
        batch_norm: bool = False,
        optimizer: str | Callable[..., Any] = "auto",
        learning_rate: float | str = "auto",
        schedule: str | Callable[[float], float] = "auto",
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        tol: float | None = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
        callbacks: Sequence[Any] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.penalty = penalty
        self.alpha = alpha
        self.power = power
        self.standardize = standardize
        self.hidden_bias = hidden_bias
        self.init = init
        self.batch_norm = batch_norm
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def fit(self, X: ArrayLike | SparseMatrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network, from new weights or, with `warm_start`, from the present ones.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows. Training runs in their precision, float32 or float64.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two different ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss. Only their ratios count; rows of weight 0 are left out.

        Returns
        -------
        self : RegularizedClassifier
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If the loss (or the validation accuracy) was still improving at `max_iter`, unless the training
            was planned; see `max_iter`.

        Raises
        ------
        ValueError
            If the loss stops being finite, where the message names the epoch, or a callable for `schedule`
            returns no number from 0 on. Also where a callback stops before the end of the first epoch.
        KeyboardInterrupt
            After Ctrl-C, with the estimator fitted as far as it got.
        """
        settings = self._settings()
        resumes = bool(self.warm_start) and hasattr(self, "coefs_")
        task = self._task_of_all_rows(settings, X, y, sample_weight, resumes=resumes)
        return self._train(task, resumes=resumes)

    def partial_fit(
        self,
        X: ArrayLike | SparseMatrix,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one pass over a chunk of rows, of any number, from the present weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows of this chunk.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that any chunk may hold. Needed at the first call, optional after it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, used as they are, so that they compare between chunks.

        Returns
        -------
        self : RegularizedClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If `classes` is missing at the first call or differs later, if `y` holds another label, or with
            ``early_stopping=True`` or ``class_weight="balanced"``, which need all rows at once.
        """
        settings = self._settings().for_chunk()
        self._check_incremental(classes)
        resumes = hasattr(self, "coefs_")
        X, y = self._check_X_y(X, y, reset=not resumes)
        if classes is not None:
            self.classes_ = self._check_classes(np.unique(classes), resumes)
        weight = row_weights(sample_weight, self.class_weight, X, y)
        return self._train(self._task(settings, X, y, weight, resumes=resumes), resumes=resumes)

    def _settings(self) -> Settings:
        """Check all parameters, and return what they say as plain values."""
        check_parameters(self)
        plain = with_plain_numbers(self)
        sizes = layer_sizes(self, "hidden_layer_sizes", self.hidden_layer_sizes)
        penalties = self._penalties(plain.alpha, sizes)
        automatic = isinstance(plain.optimizer, str) and plain.optimizer == "auto"
        return Settings(
            name=type(self).__name__,
            hidden_sizes=sizes,
            power=plain.power,
            hidden_bias=plain.hidden_bias,
            batch_norm=plain.batch_norm,
            init=plain.init,
            penalties=penalties,
            optimizer=_automatic_optimizer(plain, sizes, penalties) if automatic else plain.optimizer,
            learning_rate=plain.learning_rate,
            schedule=plain.schedule,
            batch_size=plain.batch_size,
            max_iter=plain.max_iter,
            tol=plain.tol,
            n_iter_no_change=plain.n_iter_no_change,
            callbacks=plain.callbacks,
            verbose=plain.verbose,
            device=resolve_device(self, self.device),
        )

    def _penalties(self, alpha: float | str, hidden_sizes: list[int]) -> dict[str, Penalty]:
        rule = None
        if self.penalty is None and alpha not in ("auto", 0):
            rule = "'auto' or 0 where penalty is None, which has no strength"
        if isinstance(self.penalty, (list, tuple)) and alpha != "auto":
            rule = "'auto' where penalty is a list, whose members have their own strengths"
        if rule is not None:
            raise parameter_error(self, "alpha", rule, self.alpha, ValueError)
        found = penalties_by_label(self.penalty, alpha)
        for penalty in found.values():
            penalty.check(hidden_sizes)
        return found

    def _check_classes(self, classes: np.ndarray, resumes: bool) -> np.ndarray:
        """Return `classes`, of which there must be two, and the same as before if training `resumes`."""
        if len(classes) == 0:
            rule = "labels of at least 2 classes"
            raise parameter_error(self, "classes", rule, classes.tolist(), ValueError)
        if len(classes) < 2:
            raise ValueError(
                f"This {type(self).__name__} needs samples of at least 2 classes in the data, "
                f"but the data contains only one class: {classes[0]!r}"
            )
        if resumes and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"The classes must stay the same: they were {self.classes_} and are {classes} now."
            )
        return classes

    def _check_incremental(self, classes: ArrayLike | None) -> None:
        """Raise ValueError where `partial_fit` cannot do what the parameters ask for."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} is not supported by partial_fit, since it needs all "
                "rows. Compute them with sklearn.utils.class_weight.compute_class_weight and pass a dict."
            )
        if classes is None and not hasattr(self, "coefs_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")

    def _check_X_y(
        self, X: ArrayLike | SparseMatrix, y: ArrayLike, reset: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], accept_sparse="csr", reset=reset)
        check_classification_targets(y)
        return dense(X), column_or_1d(y, warn=True)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` has labels that are not in `classes_`, {self.classes_}: {unknown}.")
        return np.searchsorted(self.classes_, y)

    def _train(self, task: Task, *, resumes: bool) -> Self:
        """Train, then store the result: the path of `fit` and `partial_fit`."""
        return self._store(train_network(task), task, resumes=resumes)

    def _task_of_all_rows(
        self, settings: Settings, X: Any, y: Any, sample_weight: Any, *, resumes: bool
    ) -> Task:
        """Check what `fit` was given, learn the labels, and return what there is to learn."""
        X, y = self._check_X_y(X, y, reset=not resumes)
        self.classes_ = self._check_classes(np.unique(y), resumes)
        weight = row_weights(sample_weight, self.class_weight, X, y)
        return self._task(settings, X, y, weight, resumes=resumes)

    def _task(
        self, settings: Settings, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, *, resumes: bool
    ) -> Task:
        """Return what there is to learn from the rows that have weight."""
        codes, is_chunk = self._encode(y), not settings.knows_all_rows
        rows: Arrays = X, codes, None
        if weight is not None:
            rows = keep_weighted(X, codes, weight, normalize=not is_chunk)
        random_state = seeded_generator(self, self.random_state)
        generators = torch_generator(random_state), torch_generator(random_state)
        train, valid = rows, None
        if self.early_stopping:
            train, valid = split_rows(rows, float(self.validation_fraction), random_state)
        scaler = None
        if self.standardize:
            known = self._scaler if resumes and is_chunk else None
            scaler = update_scaler(settings.name, known, train[0], train[2])
        self._scaler = scaler
        state = self._state(is_chunk) if resumes else None
        settings = planned(settings, *train[0].shape, begins=state is None and valid is None)
        return Task(settings, train, valid, generators, len(self.classes_), scaler, state)

    def _state(self, is_chunk: bool) -> State:
        optimizer_state = self._optimizer_state if is_chunk else None
        return State(self.coefs_, self.intercepts_, self._norm, optimizer_state, self.n_iter_)

    def _fit_each(
        self, strengths: Sequence[float], X: Any, y: Any, sample_weight: Any
    ) -> list[Self | DivergedError]:
        """Return copies of this classifier, each fitted under another strength of its penalty.

        All at once where `stackable` says so, up to rounding as one by one.
        """
        # A strength of zero would be no penalty.
        first = clone(self).set_params(alpha=max(strengths))
        settings, outcomes = first._settings(), None
        if stackable(settings):
            task = first._task_of_all_rows(settings, X, y, sample_weight, resumes=False)
            outcomes = train_stack(task, strengths)
        if outcomes is None:
            alone = [clone(self).set_params(alpha=strength) for strength in strengths]
            return [_or_diverged(partial(fitted.fit, X, y, sample_weight)) for fitted in alone]
        copies = [copy.copy(first).set_params(alpha=strength) for strength in strengths]
        return [
            outcome
            if isinstance(outcome, DivergedError)
            else _or_diverged(partial(fitted._store, outcome, task, resumes=False))
            for fitted, outcome in zip(copies, outcomes)
        ]

    def _store(self, outcome: Outcome, task: Task, *, resumes: bool) -> Self:
        """Keep what training found, as NumPy arrays, and say how it ended."""
        dtype = task.train[0].dtype
        course, is_chunk = outcome.course, not outcome.settings.knows_all_rows
        if course.losses:
            coefs, intercepts, norm = fold(outcome.network)
            if not all(np.isfinite(array).all() for array in [*coefs, *intercepts]):
                raise diverged(type(self).__name__, course.epoch)
            self._norm = norm
            self.coefs_ = [coef.astype(dtype) for coef in coefs]
            self.intercepts_ = [intercept.astype(dtype) for intercept in intercepts]
            optimizer = outcome.optimizer if is_chunk else None
            self._optimizer_state = None if optimizer is None else as_arrays(optimizer.state_dict())
            self._store_curves(course, resumes)
        if outcome.interrupted:
            raise KeyboardInterrupt
        if not (course.losses or resumes):
            raise ValueError(
                f"A callback stopped the training of {type(self).__name__} before the end of the first "
                "epoch, so that there is nothing to keep. Let it wait for an epoch."
            )
        ends = self.tol is None or outcome.stopped or outcome.settings.ends_by_plan
        if not (is_chunk or ends):
            warnings.warn(
                f"{type(self).__name__} stopped at max_iter={outcome.settings.max_iter} epochs while the "
                f"{'validation accuracy' if self.early_stopping else 'loss'} was still improving "
                f"(tol={self.tol}, n_iter_no_change={self.n_iter_no_change}). Increase max_iter or "
                "learning_rate, or set tol=None if max_iter is the number of epochs you want."
                f"{_WITHOUT_OPTIMUM if self.penalty is None and len(self.coefs_) == 1 else ''}",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _store_curves(self, course: Course, resumes: bool) -> None:
        if not resumes:
            self.loss_curve_, self.penalties_, self.validation_scores_ = [], {}, []
        n_before = len(self.loss_curve_)
        self.penalties_ = joined_penalties(self.penalties_, n_before, course.penalties)
        self.loss_curve_ = self.loss_curve_ + course.losses
        self.validation_scores_ = self.validation_scores_ + course.validation_scores
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
