"""The strength of a penalty chosen by cross-validation, with the networks of a fold trained in one batch."""

from __future__ import annotations

import inspect
import math
import numbers
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn import get_config
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from .._base import (
    SparseMatrix,
    as_numbers,
    check_number,
    check_parameters,
    integer,
    parameter_error,
    progress,
    with_plain_numbers,
)
from ._course import DivergedError
from ._estimator import RegularizedClassifier
from ._perceptron import PerceptronClassifier
from ._rows import row_weights
from ._stack import stackable
from .penalties import any_penalty
from .penalties._base import Penalty

# Of RegularizedClassifier, what a search chooses itself, and what makes no sense in one.
_NOT_SHARED = {"alpha", "warm_start"}
_CV_RULE = "an int in [2, inf), an object with split, an iterable of pairs of indices, or None"
# Networks in a batch, so that it does not depend on how many processes there are.
_AT_ONCE = 16


def _is_public_result(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def _one_penalty(owner: object, name: str, value: Any) -> None:
    if value is None or isinstance(value, (list, tuple)):
        rule = "one word or one Penalty, whose strength is searched"
        raise parameter_error(owner, name, rule, value, TypeError)
    any_penalty(owner, name, value)


def _any_strengths(owner: object, name: str, value: Any) -> None:
    rule = "one or more floats in [0, inf), all different"
    strengths = as_numbers(owner, name, value, rule)
    if strengths.ndim != 1 or not strengths.size or len(np.unique(strengths)) < strengths.size:
        raise parameter_error(owner, name, rule, value, ValueError)
    for strength in strengths.tolist():
        check_number(owner, name, strength, "[0, inf)")


def _any_refit(owner: object, name: str, value: Any) -> None:
    if not (value is True or isinstance(value, str) or callable(value)):
        raise parameter_error(owner, name, "True, the name of a score or a callable", value, TypeError)


def _any_cv(owner: object, name: str, value: Any) -> None:
    is_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_number and value < 2:
        raise parameter_error(owner, name, _CV_RULE, value, ValueError)
    splits = isinstance(value, Iterable) or hasattr(value, "split")
    if isinstance(value, (str, bytes, type, Mapping)) or not (value is None or is_number or splits):
        raise parameter_error(owner, name, _CV_RULE, value)


def _any_scoring(owner: object, name: str, value: Any) -> None:
    rule = "None, the name of a score, a scorer, or a list or dict of such"
    if isinstance(value, type):
        raise parameter_error(owner, name, rule, value)
    try:
        check_scoring(RegularizedClassifier(), value)
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise parameter_error(owner, name, rule, value, kind) from error


class RegularizedClassifierCV(PerceptronClassifier):
    """A `RegularizedClassifier` that chooses the strength of its penalty by cross-validation.

    It finds what ``GridSearchCV(RegularizedClassifier(...), {"alpha": alphas})`` finds, up to rounding. But
    the networks of a fold, which differ in the strength only, learn from the same batches side by side, which
    takes a fraction of the time on small tables.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=(100,)
        As in `RegularizedClassifier`.
    alphas : array-like of float, default=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
        The strengths to try.
    penalty : str or Penalty, default="jacobian"
        What is added to the loss, as in `RegularizedClassifier`; one only.
    cv : int, cross-validation generator or iterable, default=None
        The folds: None or a number, of a `StratifiedKFold` (None is 5), an object that splits, or the splits.
    scoring : str, callable, list, tuple, dict or None, default=None
        What a network is judged by on the rows of a fold that it did not see, as in `GridSearchCV`: the
        accuracy, an `AdversarialScorer`, or several scores by name.
    refit : bool, str or callable, default=True
        What decides: True the only score, else its name, or a function of `cv_results_` that returns the
        index of a strength.
    n_jobs : int or None, default=None
        Number of processes that take folds, as in joblib.
    power : float, default=1.0
        Exponent of the rectifier, as all that follows but `verbose` as in `RegularizedClassifier`.
    standardize : bool, default=True
        Whether training sees centred and scaled features.
    hidden_bias : bool, default=True
        Whether hidden layers have intercepts.
    init : {"glorot", "he"}, default="glorot"
        Variance of the first weights.
    batch_norm : bool, default=False
        Whether the activations of the last hidden layer are normalised by batch.
    optimizer : {"auto", "adam", "sgd"} or callable, default="auto"
        What takes the steps.
    learning_rate : float or "auto", default="auto"
        Learning rate at the start.
    schedule : {"auto", "constant", "linear", "cosine"} or callable, default="auto"
        Factor of the learning rate in each epoch.
    batch_size : int or "auto", default="auto"
        Rows per update.
    max_iter : int or "auto", default="auto"
        Largest number of epochs.
    tol : float or None, default=1e-4
        By how much the loss must improve.
    n_iter_no_change : int, default=10
        In how many epochs.
    early_stopping : bool, default=False
        Whether to set rows aside and stop by the accuracy on them.
    validation_fraction : float, default=0.1
        Share of the rows that `early_stopping` sets aside.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes by label.
    callbacks : list of skorch callbacks or None, default=None
        Passed to skorch, which does the training where there are any.
    device : str or torch.device, default="auto"
        Where torch computes.
    random_state : int, RandomState instance or None, default=None
        Draws what is random in training. One other than None starts all fits of a search alike.
    verbose : int, default=0
        Whether to show a progress bar of the search, and one of the last fit.

    Attributes
    ----------
    alpha_ : float
        The strength that was chosen.
    best_score_ : float
        Its mean score; missing where `refit` is a callable.
    best_index_ : int
        Its place in `alphas`.
    cv_results_ : dict of arrays
        In the form of `GridSearchCV`. Of networks that learnt at once, each has its share of the time.
    scorer_ : callable
        What the networks were judged by.
    n_splits_ : int
        Number of folds.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coefs_, intercepts_ : lists of ndarrays
        Weights and intercepts of each layer of the network that was fitted on all rows, under `alpha_`.
    coef_, intercept_ : ndarrays
        The same of a linear classifier; see `RegularizedClassifier`.
    loss_ : float
        Its loss in the last epoch, penalty included.
    loss_curve_ : list of float
        Its mean loss in each epoch.
    penalties_ : dict of lists
        What the penalty contributed to `loss_curve_`.
    validation_scores_ : list of float
        Accuracy on the rows set aside after each epoch; empty without `early_stopping`.
    n_iter_ : int
        Its number of epochs.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had any.

    See Also
    --------
    RegularizedClassifier : With one strength.
    sklearn.model_selection.GridSearchCV : Searches anything, one fit after the other.

    Notes
    -----
    Side by side learn networks under "l1", "l2" (without `intercepts`) and the Jacobian in closed form (with
    one hidden layer at most and `power` 1, or of pre-activations), with "adam" and without `batch_norm` and
    `callbacks`. All others learn one after the other, to the same end. Each network ends where it would end
    alone.

    A network that diverges gets the score nan, and a warning. Where every strength has diverged in some fold,
    nothing can be chosen.

    `sample_weight` weighs rows in training and, other than in `GridSearchCV`, in the scores, where the scorer
    takes it; so a weight of 2 is the row twice. With metadata routing enabled the scorer has to ask for it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_brm import RegularizedClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = RegularizedClassifierCV((20,), alphas=[1e-3, 100], random_state=0).fit(X, y)
    >>> classifier.alpha_
    0.001
    >>> classifier.cv_results_["rank_test_score"].tolist()
    [1, 2]
    """

    alpha_: float
    best_index_: int
    best_score_: float
    cv_results_: dict[str, Any]
    scorer_: Any
    n_splits_: int
    loss_curve_: list[float]
    penalties_: dict[str, list[float]]
    validation_scores_: list[float]
    loss_: float
    n_iter_: int

    _parameter_rules = MappingProxyType(
        {
            name: rule
            for name, rule in RegularizedClassifier._parameter_rules.items()
            if name not in _NOT_SHARED
        }
        | {
            "alphas": _any_strengths,
            "penalty": _one_penalty,
            "cv": _any_cv,
            "scoring": _any_scoring,
            "refit": _any_refit,
            "n_jobs": integer("(-inf, inf)", None),
        }
    )

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        alphas: ArrayLike = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
        penalty: str | Penalty = "jacobian",
        cv: Any = None,
        scoring: Any = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        n_jobs: int | None = None,
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
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alphas = alphas
        self.penalty = penalty
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.n_jobs = n_jobs
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

    def fit(
        self,
        X: ArrayLike | SparseMatrix,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Judge every strength on every fold, choose one, and train under it on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows. A DataFrame reaches the scorer as such.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two different ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in training, and in scores that take them.
        **params : dict
            `groups` for a `cv` that takes them; with metadata routing enabled, whatever the splitter and the
            scorer ask for.

        Returns
        -------
        self : RegularizedClassifierCV
            The fitted estimator.

        Warns
        -----
        FitFailedWarning
            If a training diverged, whose score is nan.
        ConvergenceWarning
            As in `RegularizedClassifier`.

        Raises
        ------
        ValueError
            If every strength diverged in some fold, or `refit` does not say which of several scores decides.
        """
        check_parameters(self)
        if not callable(self.scoring):
            self._deciding_score(_names_of_scores(self.scoring))
        base = self._base()
        settings = base._settings()
        checked, labels = base._check_X_y(X, y, reset=True)
        base._check_classes(np.unique(labels), resumes=False)
        weight = row_weights(sample_weight, None, checked, labels)
        # Scorers may ask for columns by name.
        rows = X if hasattr(X, "columns") else checked
        self.scorer_ = check_scoring(base, self.scoring)
        routed = self._routed(weight, params)
        splits = self._splits(rows, labels, routed.splitter.split)
        strengths = [float(alpha) for alpha in np.asarray(self.alphas)]
        n_parts = math.ceil(len(strengths) / _AT_ONCE) if stackable(settings) else len(strengths)
        parts = [part.tolist() for part in np.array_split(strengths, n_parts)]
        data = rows, labels, weight, self.scorer_, routed.scorer.score
        judged = self._run(delayed(_judge)(base, part, split, *data) for split in splits for part in parts)
        entries = [entry for part in judged for entry in part]
        _warn_of_divergence(strengths, entries)
        self.n_splits_ = len(splits)
        self.cv_results_ = _cv_results(strengths, self.n_splits_, entries)
        self._choose(strengths)
        best = base.set_params(alpha=self.alpha_, random_state=self.random_state, verbose=self.verbose)
        best.fit(X, y, sample_weight)
        self.__dict__.update({name: value for name, value in vars(best).items() if _is_public_result(name)})
        return self

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes: the weights to training, the rest to splitter and scorer.

        Returns
        -------
        routing : MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        mapping = MethodMapping().add(caller="fit", callee="score")
        return router.add(scorer=check_scoring(RegularizedClassifier(), self.scoring), method_mapping=mapping)

    def _base(self) -> RegularizedClassifier:
        """Return the classifier that learns under one strength, as the parameters describe it."""
        plain = with_plain_numbers(self)
        names = RegularizedClassifier._parameter_rules.keys() - _NOT_SHARED
        return RegularizedClassifier(**{name: getattr(plain, name) for name in names} | {"verbose": 0})

    def _routed(self, weight: np.ndarray | None, params: dict[str, Any]) -> Any:
        """Return what splitter and scorer get beside rows and labels."""
        if get_config()["enable_metadata_routing"]:
            given = params if weight is None else {"sample_weight": weight, **params}
            return process_routing(self, "fit", **given)
        unknown = params.keys() - {"groups"}
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.fit takes {sorted(unknown)} only where metadata routing is enabled: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        weighs = weight is not None and _takes_weights(self.scorer_)
        score_params = {"sample_weight": weight} if weighs else {}
        return Bunch(splitter=Bunch(split=params), scorer=Bunch(score=score_params))

    def _splits(
        self, rows: Any, labels: np.ndarray, params: dict[str, Any]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the places of the rows to learn from, and of those to judge by, of each fold."""
        try:
            found = check_cv(self.cv, labels, classifier=True).split(rows, labels, **params)
            splits = [(np.asarray(train), np.asarray(test)) for train, test in found]
            places = [np.arange(len(labels))[side] for split in splits for side in split]
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"The 'cv' parameter of {type(self).__name__} does not fit the {len(labels)} rows: {error}"
            ) from error
        if not places or not all(len(side) for side in places):
            raise parameter_error(self, "cv", f"{_CV_RULE}, with rows on both sides", self.cv, ValueError)
        return splits

    def _run(self, calls: Iterable[Any]) -> Iterable[Any]:
        """Return the results of delayed calls, in order, with a progress bar if asked for."""
        calls = list(calls)
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(calls)
        return progress(results, verbose=self.verbose, description=type(self).__name__, total=len(calls))

    def _choose(self, strengths: list[float]) -> None:
        """Let `refit` decide from the results."""
        names = [key.removeprefix("mean_test_") for key in self.cv_results_ if key.startswith("mean_test_")]
        if callable(self.refit):
            index = self.refit(self.cv_results_)
            rule = f"a callable that returns an int in [0, {len(strengths) - 1}], the index of a strength"
            if isinstance(index, bool) or not isinstance(index, numbers.Integral):
                raise parameter_error(self, "refit", rule, index, TypeError)
            if not 0 <= index < len(strengths):
                raise parameter_error(self, "refit", rule, index, ValueError)
            self.__dict__.pop("best_score_", None)
        else:
            name = self._deciding_score(names)
            means = self.cv_results_[f"mean_test_{name}"]
            if np.isnan(means).all():
                raise ValueError(
                    f"No strength can be chosen: the mean {name} of each is nan, since a training of it "
                    "diverged in a fold, or it was scored so. Try smaller alphas or a smaller learning_rate."
                )
            index = int(np.nanargmax(means))
            self.best_score_ = float(means[index])
        self.best_index_, self.alpha_ = int(index), strengths[int(index)]

    def _deciding_score(self, names: list[str]) -> str | None:
        """Return by which of the scores `refit` wants to choose, None where it is a callable."""
        if callable(self.refit):
            return None
        name = names[0] if self.refit is True and len(names) == 1 else self.refit
        if name not in names:
            rule = f"one of {names} or a callable, where these are the scores"
            raise parameter_error(self, "refit", rule, self.refit, ValueError)
        return name


def _names_of_scores(scoring: Any) -> list[str]:
    """Return what scores will be called, of a `scoring` that is no callable."""
    return ["score"] if scoring is None or isinstance(scoring, str) else [str(name) for name in scoring]


@dataclass(frozen=True)
class _Judgement:
    """What a network got on rows that it did not see, or why it got nothing, and the seconds it took."""

    scores: dict[str, float]
    fit_time: float
    score_time: float
    error: str | None = None


def _judge(
    base: RegularizedClassifier,
    strengths: list[float],
    split: tuple[np.ndarray, np.ndarray],
    rows: Any,
    labels: np.ndarray,
    weight: np.ndarray | None,
    scorer: Callable[..., Any],
    score_params: Mapping[str, Any],
) -> list[_Judgement]:
    """Return what the networks that learn from one side of a split get on the other."""
    train, test = split
    start = time.perf_counter()
    known = _taken(rows, train), labels[train], None if weight is None else weight[train]
    found = base._fit_each(strengths, *known)
    fit_time = (time.perf_counter() - start) / len(strengths)
    asked = {name: _of_rows(value, test, len(labels)) for name, value in score_params.items()}
    unseen = _taken(rows, test), labels[test]
    judgements = []
    for classifier in found:
        start = time.perf_counter()
        if isinstance(classifier, DivergedError):
            judgements.append(_Judgement({}, fit_time, 0.0, str(classifier)))
            continue
        scores = _as_scores(scorer(classifier, *unseen, **asked))
        judgements.append(_Judgement(scores, fit_time, time.perf_counter() - start))
    return judgements


def _taken(rows: Any, places: np.ndarray) -> Any:
    """Return some rows of an array, a sparse matrix or a DataFrame."""
    return rows.iloc[places] if hasattr(rows, "iloc") else rows[places]


def _takes_weights(scorer: Callable[..., Any]) -> bool:
    parameters = inspect.signature(scorer).parameters
    return "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _of_rows(value: Any, places: np.ndarray, n_rows: int) -> Any:
    """Return the entries of these rows where `value` has one for each row, else the value."""
    has_rows = hasattr(value, "__len__") and not isinstance(value, str) and len(value) == n_rows
    return _taken(np.asarray(value), places) if has_rows else value


def _as_scores(found: Any) -> dict[str, float]:
    """Return scores by name, of which a lone one is called "score"."""
    scores = dict(found) if isinstance(found, Mapping) else {"score": found}
    for name, score in scores.items():
        score = score.item() if hasattr(score, "item") else score
        if not isinstance(score, numbers.Real):
            raise ValueError(f"scoring must return a number, got {score!r} ({type(score)}) for {name!r}.")
    return {name: float(score) for name, score in scores.items()}


def _warn_of_divergence(strengths: list[float], entries: list[_Judgement]) -> None:
    failed = [i for i, entry in enumerate(entries) if entry.error is not None]
    if failed:
        which = sorted({strengths[i % len(strengths)] for i in failed})
        warnings.warn(
            f"{len(failed)} of {len(entries)} trainings diverged, under alpha={which}, and score nan. "
            f"The first said: {entries[failed[0]].error}",
            FitFailedWarning,
            stacklevel=3,
        )


def _cv_results(strengths: list[float], n_splits: int, entries: list[_Judgement]) -> dict[str, Any]:
    """Return the table that `GridSearchCV` makes of judgements, all strengths of the first split first."""
    shape = n_splits, len(strengths)
    results: dict[str, Any] = {}
    for kind in ("fit_time", "score_time"):
        seconds = np.array([getattr(entry, kind) for entry in entries]).reshape(shape)
        results |= {f"mean_{kind}": seconds.mean(axis=0), f"std_{kind}": seconds.std(axis=0)}
    results["param_alpha"] = np.ma.MaskedArray(strengths, mask=np.zeros(len(strengths), dtype=bool))
    results["params"] = [{"alpha": strength} for strength in strengths]
    names = next((list(entry.scores) for entry in entries if entry.scores), ["score"])
    for name in names:
        scores = np.array([entry.scores.get(name, np.nan) for entry in entries]).reshape(shape)
        mean = scores.mean(axis=0)
        results |= {f"split{i}_test_{name}": split for i, split in enumerate(scores)}
        results |= {f"mean_test_{name}": mean, f"std_test_{name}": scores.std(axis=0)}
        results[f"rank_test_{name}"] = _ranks(mean)
    return results


def _ranks(means: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return 1 for the largest; those that are nan come last."""
    return rankdata(-np.nan_to_num(means, nan=-np.inf), method="min").astype(np.int32)
