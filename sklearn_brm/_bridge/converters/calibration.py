"""Classifiers whose scores are mapped to probabilities, or cut at another threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from scipy.special import logit
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from torch import Tensor

from ...functional.interpolation import interpolate
from ...functional.layers import Layer, LogSoftmax, Stretch, TwoColumns, sequence
from .._registry import converts, passes_inputs_on
from .ensembles import Difference, LogMean

if TYPE_CHECKING:
    from .._registry import Target


class Sigmoid(Layer):
    """Platt's calibration: logarithms of a logistic function and of its complement.

    They come in the order of the classes, the complement first, in shape (n, 2) from values of shape (n, 1).
    """

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.slope, self.offset = slope, offset

    def forward(self, X: Tensor) -> Tensor:
        """Return both logarithms."""
        X = self.slope * X + self.offset
        return torch.nn.functional.logsigmoid(torch.cat([-X, X], dim=1))


class Isotonic(Layer):
    """Calibration by a rising polygon: logarithms of the complement and of the probability.

    Parameters
    ----------
    knots, levels : Tensors of shape (n_knots,)
    """

    def __init__(self, knots: Tensor, levels: Tensor) -> None:
        super().__init__(knots=knots, levels=levels)

    def forward(self, X: Tensor) -> Tensor:
        """Return both logarithms."""
        probability = interpolate(X.T, self.knots[None], self.levels).T
        both = torch.cat([1 - probability, probability], dim=1)
        return both.clamp_min(torch.finfo(X.dtype).tiny).log()


class Calibrate(Layer):
    """A calibrator for each column, of whose answers the last counts; a lone one speaks for both classes."""

    def __init__(self, calibrators: Iterable[Isotonic | Sigmoid]) -> None:
        super().__init__()
        self.calibrators = torch.nn.ModuleList(calibrators)

    def forward(self, X: Tensor) -> Tensor:
        """Return logarithms of probabilities, one column per class."""
        if len(self.calibrators) == 1:
            return self.calibrators[0](X)
        logs = [calibrator(X[:, k : k + 1])[:, -1:] for k, calibrator in enumerate(self.calibrators)]
        return torch.cat(logs, dim=1)


class Exponential(Layer):
    """From logarithms to probabilities."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the exponentials."""
        return X.exp()


class Last(Layer):
    """The last column."""

    def forward(self, X: Tensor) -> Tensor:
        """Return it, in shape (n, 1)."""
        return X[:, -1:]


class Tame(Layer):
    """Logarithms of probabilities, kept finite by the number that scikit-learn adds."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms."""
        return (X.exp() + 1e-12).log()


@converts(CalibratedClassifierCV)
@passes_inputs_on
def convert_calibrated(calibrated: BaseEstimator, target: Target) -> torch.nn.Module:
    """Logarithm of the mean of the calibrated probabilities of the folds."""
    folds = enumerate(calibrated.calibrated_classifiers_)
    return LogMean([_convert_fold(fold, f"calibrated_classifiers_[{i}]", target) for i, fold in folds])


@converts(FixedThresholdClassifier)
def convert_fixed_threshold(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """Scores whose difference is by how much the positive class passes the threshold."""
    inner = getattr(classifier, "estimator_", classifier.estimator)
    threshold = None if classifier.threshold == "auto" else classifier.threshold
    is_last = classifier.pos_label is None or classifier.pos_label == classifier.classes_[1]
    return _with_threshold(classifier, inner, threshold, is_last, target)


@converts(TunedThresholdClassifierCV)
def convert_tuned_threshold(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """Scores whose difference is by how much the positive class passes the threshold that was found."""
    # Scorers given by name take label 1 for the positive one; this one takes the last.
    is_last = classifier.scoring == "balanced_accuracy"
    if not is_last and not (isinstance(classifier.scoring, str) and classifier.classes_[1] == 1):
        raise target.refuse(classifier, "its scorer does not tell which class is the positive one")
    return _with_threshold(classifier, classifier.estimator_, classifier.best_threshold_, True, target)


def _with_threshold(
    classifier: BaseEstimator, inner: BaseEstimator, threshold: float | None, is_last: bool, target: Target
) -> torch.nn.Module:
    if target.response != "scores":
        return target.convert(inner, "estimator", response=target.response)
    by_proba = classifier.response_method == "predict_proba"
    by_proba |= classifier.response_method == "auto" and hasattr(inner, "predict_proba")
    module = target.convert(inner, "estimator", response="log_proba" if by_proba else "decision")
    if threshold is None:
        return module
    # The threshold is one of the positive class, the difference speaks for the last.
    offset = (1 if is_last else -1) * float(logit(threshold) if by_proba else threshold)
    lower = Stretch(target.tensor(1.0), target.tensor(-offset))
    return sequence(module, Difference(), lower, TwoColumns())


def _convert_fold(fold: BaseEstimator, name: str, target: Target) -> torch.nn.Module:
    """Logarithms of the probabilities of one fold's classifier, calibrated per class."""
    if len(fold.estimator.classes_) != len(fold.classes):
        raise target.refuse(fold.estimator, "it was calibrated on a fold that lacks a class")
    by_decision = hasattr(fold.estimator, "decision_function")
    module = target.convert(fold.estimator, name, response="decision" if by_decision else "log_proba")
    binary = len(fold.classes) == 2
    if fold.method == "temperature":
        # Two classes have the logits -d and d.
        factor = float(fold.calibrators[0].beta_) * (2 if by_decision and binary else 1)
        return sequence(module, None if by_decision else Tame(), Stretch(target.tensor(factor)), LogSoftmax())
    value: torch.nn.Module | None = None if by_decision else Exponential()
    calibrators = [_calibrator(calibrator, target) for calibrator in fold.calibrators]
    if binary:
        value = Difference() if by_decision else sequence(value, Last())
    return sequence(module, value, Calibrate(calibrators), None if binary else LogSoftmax())


def _calibrator(calibrator: BaseEstimator, target: Target) -> Isotonic | Sigmoid:
    """Return the layer from values to logarithms of the complement of the probability, and of it."""
    if not isinstance(calibrator, IsotonicRegression):
        return Sigmoid(-float(calibrator.a_), -float(calibrator.b_))
    return Isotonic(target.tensor(calibrator.X_thresholds_), target.tensor(calibrator.y_thresholds_))
