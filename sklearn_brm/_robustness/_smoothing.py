"""A certificate for anything that predicts: the majority of its answers to noisy copies of a row."""

import numbers
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, check_consistent_length, get_tags
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d, has_fit_parameter, validate_data
from torch import Tensor

from .._base import (
    DocLinkMixin,
    any_seed,
    check_parameters,
    integer,
    number,
    parameter_error,
    seeded_generator,
)
from ..functional.attacks import noise
from ._intervals import lowest_share
from ._polars import is_polars, to_pandas
from ._table import Column, Table
from ._units import resolve_scale


def _any_classifier(owner: object, name: str, value: BaseEstimator) -> None:
    usable = hasattr(value, "__sklearn_tags__") and hasattr(value, "fit") and hasattr(value, "predict")
    if isinstance(value, type) or not usable or not is_classifier(value):
        raise parameter_error(owner, name, "a classifier with fit and predict", value, TypeError)


class SmoothedClassifier(ClassifierMixin, DocLinkMixin, BaseEstimator):
    """Let any classifier vote over noisy copies of a row, and certify how far the row may move.

    The smoothed classifier answers what the estimator answers most often when normal noise is added to the
    numbers of a row. Whatever the estimator is, that answer cannot change within a radius that follows from
    how clear the vote is (Cohen, Rosenfeld and Kolter 2019). The vote is counted on `n_samples` draws of the
    noise, and the radius holds with confidence ``1 - alpha`` for each row.

    Parameters
    ----------
    estimator : classifier
        Any classifier with `fit` and `predict`, such as a whole Pipeline. A clone of it is fitted on noisy
        rows. One that is fitted already is given as ``FrozenEstimator(estimator)``; where it never saw noise,
        its vote is often less clear.
    sigma : float, default=0.5
        Standard deviation of the noise, in units of `scale`. More of it certifies larger radii of fewer rows.
    n_samples : int, default=1000
        Draws on which the vote is counted. No radius is larger than
        ``sigma * norm.ppf(alpha ** (1 / n_samples))``: 2.5 times `sigma` by default.
    alpha : float, default=0.001
        Probability, for each row, that its certificate is wrong, at most.
    scale : {"std", "range", "iqr"}, float, array-like, Series, dict or None, default="std"
        One unit of noise, and so of radii, in each column. A word is a spread of the rows seen in `fit`,
        ``"std"`` under their weights; None is 1 in every column, as for images. 0 leaves a column as it is,
        as for numbers that stand for categories.
    n_copies : int, default=10
        Noisy copies of each training row that the estimator is fitted on. 0 fits it on the rows as they are.
    n_selection : int, default=100
        Draws, apart from those of `n_samples`, that choose the class whose votes are counted.
    abstain_label : str or number, default=None
        What `predict` answers for rows without a certificate: a label that is none of the classes. None
        answers the most frequent class even so.
    batch_size : int, default=8192
        Noisy copies that the estimator is asked about at once, which bounds the memory.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise in `fit` and of the noise in predictions. The estimator has its own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    estimator_ : classifier
        The fitted estimator.
    scale_ : ndarray of shape (n_features,)
        One unit of noise in each column; 0 where none is added, as to words and to constant columns.
    noise_seed_ : int
        Seed of the noise in predictions.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where all are strings.

    See Also
    --------
    adversarial_examples : What an attack finds, the bound from the other side.

    Notes
    -----
    The certificate speaks of the smoothed classifier with endlessly many draws. With probability at least
    ``1 - alpha`` over the draws, it answers the class that `predict` gives to a row x to every row z with
    ``norm((z - x) / scale_) < radius``, the norm being the Euclidean one. Columns where `scale_` is 0, words
    and missing values stay as they are. That is the threat ``ThreatModel(norm=2, scale=smoothed.scale_,
    max_changes=0)``.

    A class is selected on `n_selection` draws, and the lower bound p of its share is that of Clopper and
    Pearson (1934), for one side, on the other `n_samples`. The radius is ``sigma * norm.ppf(p)``, and 0, no
    certificate, where p is not above one half. The paper lets `predict` abstain by a test of the two most
    frequent classes instead, which keeps some rows that have no radius.

    All rows get the same draws. So the answer to a row does not depend on the rows beside it, and answers
    repeat; but certificates of several rows are wrong together more often than independent ones would be, and
    the confidence is not for rows that somebody chose by the answers of this very object: for these, fit
    again with another `random_state`. Mathematics is about real numbers; nothing is said about rounding.

    In `fit` the noise of a row follows from its content and the seed, so that a weight of 2 is the row twice.
    `n_samples`, `n_selection`, `alpha`, `abstain_label` and `batch_size` may be set after `fit`; the last
    changes no answer.

    References
    ----------
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019,
    arXiv:1902.02918.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_brm import SmoothedClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    >>> forest = RandomForestClassifier(20, random_state=0)
    >>> smoothed = SmoothedClassifier(forest, random_state=0).fit(X, y)
    >>> radius = smoothed.certified_radius(X_test, y_test)
    >>> print(f"{smoothed.score(X_test, y_test):.2f} right, {(radius > 0.5).mean():.2f} certified at 0.5")
    0.95 right, 0.90 certified at 0.5
    """

    estimator_: BaseEstimator
    classes_: np.ndarray
    scale_: NDArray[np.float64]
    noise_seed_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_rules = MappingProxyType(
        {
            "estimator": _any_classifier,
            "sigma": number("(0, inf)"),
            "n_samples": integer("[1, inf)"),
            "alpha": number("(0, 1)"),
            "n_copies": integer("[0, inf)"),
            "n_selection": integer("[1, inf)"),
            "batch_size": integer("[1, inf)"),
            "random_state": any_seed,
        }
    )

    def __init__(
        self,
        estimator: BaseEstimator,
        sigma: float = 0.5,
        n_samples: int = 1000,
        alpha: float = 0.001,
        *,
        scale: str | float | Mapping[Any, float] | ArrayLike | None = "std",
        n_copies: int = 10,
        n_selection: int = 100,
        abstain_label: Any = None,
        batch_size: int = 8192,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.sigma = sigma
        self.n_samples = n_samples
        self.alpha = alpha
        self.scale = scale
        self.n_copies = n_copies
        self.n_selection = n_selection
        self.abstain_label = abstain_label
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the scale and fit the estimator on noisy rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows of numbers, words, booleans and missing values: whatever the estimator takes. DataFrames
            reach it as such, those of polars as those of pandas.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for the scale and the estimator. Rows of weight 0 are left out.

        Returns
        -------
        self : SmoothedClassifier
        """
        check_parameters(self)
        table = self._as_table(X, y=y, reset=True)
        y = cast(np.ndarray, column_or_1d(y, warn=True))
        check_consistent_length(table.matrix, y)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self._check_abstain_label(np.unique(y))
        weight = self._checked_weight(sample_weight, table)
        if weight is not None:
            used = np.flatnonzero(weight)
            table = Table(self, table.restore(table.matrix[used], used))
            y, weight = y[used], weight[used]
        self.scale_ = self._learned_scale(table, weight)
        seed, self.noise_seed_ = seeded_generator(self, self.random_state).randint(2**31 - 1, size=2).tolist()
        self.estimator_ = self._fit_estimator(table, y, weight, seed)
        labels = getattr(self.estimator_, "classes_", None)
        self.classes_ = np.unique(y if labels is None else labels)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the most frequent class of each row, or `abstain_label` where that is not certain.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of `classes_`, and the `abstain_label` where that is given and `certified_radius` is 0.
        """
        selected, votes = self._votes(X)
        labels = self.classes_[votes.argmax(axis=1)]
        if self.abstain_label is None:
            return labels
        self._check_abstain_label(self.classes_)
        # As an array: a Python int would have to fit the type of the labels, such as uint8.
        return np.where(self._radius(selected, votes) > 0, labels, np.asarray(self.abstain_label))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return which share of the `n_samples` noisy copies of each row is of each class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        shares : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._votes(X)[1] / int(self.n_samples)

    def certified_radius(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return how far each row may move without another answer, each with confidence ``1 - alpha``.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            True labels. A row that is certified to be of another class has radius 0.

        Returns
        -------
        radius : ndarray of shape (n_samples,)
            Euclidean distance in units of `scale_` below which the answer stays; 0 without certificate.
        """
        selected, votes = self._votes(X)
        radius = self._radius(selected, votes)
        if y is None:
            return radius
        y = column_or_1d(np.asarray(y))
        check_consistent_length(votes, y)
        # Raises, as scikit-learn does, where numbers meet strings.
        unique_labels(self.classes_, y)
        return np.where(self.classes_[selected] == y, radius, 0.0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
            tags.classifier_tags.poor_score = inner.classifier_tags.poor_score
        return tags

    def _checked_weight(self, sample_weight: Any, table: Table) -> Any:
        weight = table.weights(self, sample_weight)
        frozen = isinstance(self.estimator, FrozenEstimator)
        if weight is not None and not frozen and not has_fit_parameter(self.estimator, "sample_weight"):
            name = type(self.estimator).__name__
            raise TypeError(f"The estimator of SmoothedClassifier, {name}, takes no sample_weight in fit.")
        return weight

    def _fit_estimator(self, table: Table, y: Any, weight: np.ndarray | None, seed: int) -> BaseEstimator:
        """Return the estimator, fitted on noisy copies of the rows."""
        if isinstance(self.estimator, FrozenEstimator):
            # Learns nothing, and raises where it was not fitted before.
            return self.estimator.fit(table.matrix, y)
        _take_fractions(table, self.scale_)
        n_copies, rows = max(1, int(self.n_copies)), np.arange(len(table))
        moved = self.scale_ > 0
        draws = np.zeros((len(table), moved.sum()))
        if self.n_copies:
            keys = _keys(table.matrix[:, moved])
            copies = [noise.normal(seed, keys, copy, moved.sum()).numpy() for copy in range(n_copies)]
            draws = np.concatenate(copies)
        X = self._moved(table, np.tile(rows, n_copies), draws)
        options = {} if weight is None else {"sample_weight": np.tile(weight, n_copies)}
        return clone(self.estimator).fit(X, np.tile(y, n_copies), **options)

    def _as_table(self, X: Any, *, y: Any = "no_validation", reset: bool) -> Table:
        """Return rows as a table, after scikit-learn has looked at them and, for being there, at y."""
        X = to_pandas(X) if is_polars(X) else X
        options: dict[str, Any] = {"skip_check_array": True}
        if not _may_hold_words(X):
            options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
        y = None if y is None else "no_validation"
        return Table(self, validate_data(self, X, y, reset=reset, **options))

    def _learned_scale(self, table: Table, weight: np.ndarray | None) -> np.ndarray:
        """Return one unit of noise in each column."""
        if isinstance(self.scale, str) and self.scale == "std" and weight is not None:
            scale = _deviation(table, weight)
        else:
            scale = resolve_scale(self, self.scale, table, table)
        scale = np.where(table.is_number, scale, 0.0)
        if not scale.any():
            raise ValueError(
                f"SmoothedClassifier has nothing to add noise to: no column of X holds numbers with a spread "
                f"(scale={self.scale!r}, n_samples={len(table)})."
            )
        return scale

    def _moved(self, table: Table, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return copies of rows, in the form the estimator takes, each moved by its draw of the noise."""
        moved = self.scale_ > 0
        matrix = table.matrix[rows]
        matrix[:, moved] += float(self.sigma) * self.scale_[moved] * draws
        return table.restore(matrix, rows)

    def _votes(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the class selected for each row, and how often each class is answered in the other draws."""
        check_is_fitted(self)
        check_parameters(self)
        table = self._as_table(X, reset=False)
        words = (self.scale_ > 0) & ~table.is_number & ~np.isnan(table.matrix).all(axis=0)
        if words.any():
            names = ", ".join(str(table.label(j)) for j in np.flatnonzero(words))
            raise ValueError(f"X holds words or booleans where there were numbers in fit: column {names}.")
        _take_fractions(table, self.scale_)
        n_rows = min(len(table), int(self.batch_size))
        votes = np.empty((2, len(table), len(self.classes_)), dtype=np.int64)
        for start in range(0, len(table), n_rows):
            rows = np.arange(start, min(start + n_rows, len(table)))
            # The same draws for all rows.
            generator = np.random.default_rng(self.noise_seed_)
            for i, n_draws in enumerate((self.n_selection, self.n_samples)):
                votes[i, rows] = self._count(table, rows, int(n_draws), generator)
        return votes[0].argmax(axis=1), votes[1]

    def _count(
        self, table: Table, rows: np.ndarray, n_draws: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Return how often the estimator answers each class to the next draws, for each row."""
        n_classes, n_moved = len(self.classes_), np.count_nonzero(self.scale_)
        votes = np.zeros(len(rows) * n_classes, dtype=np.int64)
        at_once = max(1, int(self.batch_size) // len(rows))
        for done in range(0, n_draws, at_once):
            draws = generator.standard_normal((min(at_once, n_draws - done), n_moved))
            X = self._moved(table, np.tile(rows, len(draws)), np.repeat(draws, len(rows), axis=0))
            places = np.tile(np.arange(len(rows)), len(draws)) * n_classes + self._codes(X)
            votes += np.bincount(places, minlength=len(votes))
        return votes.reshape(len(rows), n_classes)

    def _codes(self, X: np.ndarray) -> np.ndarray:
        """Return the positions in `classes_` of what the estimator answers."""
        answers = column_or_1d(self.estimator_.predict(X))
        codes = np.searchsorted(self.classes_, answers).clip(max=len(self.classes_) - 1)
        strange = answers[self.classes_[codes] != answers]
        if len(strange):
            raise ValueError(
                f"The estimator of SmoothedClassifier answered {strange[0]!r}, which is none of its classes: "
                f"{self.classes_.tolist()}."
            )
        return codes

    def _radius(self, selected: np.ndarray, votes: np.ndarray) -> np.ndarray:
        """Return the radius that the votes for the selected class prove, 0 where they prove nothing."""
        hits = np.take_along_axis(votes, selected[:, None], axis=1)[:, 0]
        low = lowest_share(hits, int(self.n_samples), float(self.alpha))
        return float(self.sigma) * norm.ppf(np.maximum(low, 0.5))

    def _check_abstain_label(self, classes: np.ndarray) -> None:
        label = self.abstain_label
        if label is None:
            return
        rule = f"None or a label of the type of the classes that is none of them, {classes.tolist()}"
        if not isinstance(label, (str, numbers.Real)) or np.asarray(label).dtype == object:
            raise parameter_error(self, "abstain_label", rule, label, TypeError)
        if isinstance(label, str) != isinstance(classes[0], str) or label in classes:
            raise parameter_error(self, "abstain_label", rule, label, ValueError)


def _may_hold_words(X: Any) -> bool:
    """Tell whether rows are a DataFrame, or an array with at least one string."""
    if hasattr(X, "iloc"):
        return True
    X = np.asarray(X)
    words = X.dtype.kind in "US" or (X.dtype.kind == "O" and any(isinstance(value, str) for value in X.flat))
    return X.ndim == 2 and words


def _take_fractions(table: Table, scale: np.ndarray) -> None:
    """Let columns that get noise be floats in what the estimator gets, also where they hold whole numbers."""
    for j in np.flatnonzero(scale):
        table.columns[j] = Column("number")


def _deviation(table: Table, weight: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column of numbers under weights; 0 for constant ones."""
    present = np.ma.masked_invalid(table.matrix.astype(float))
    mean = np.ma.average(present, axis=0, weights=weight)
    variance = np.ma.average((present - mean) ** 2, axis=0, weights=weight)
    # Rounding gives a constant column a tiny spread.
    return np.where(table.spread == 0, 0, np.ma.sqrt(variance).filled(0))


def _keys(matrix: np.ndarray) -> Tensor:
    """Return a number for each row that follows from its content."""
    # Adding zero makes one zero of two.
    rows = np.ascontiguousarray(matrix.astype(float) + 0.0)
    return torch.tensor([int.from_bytes(blake2b(row, digest_size=7).digest()) for row in rows])
