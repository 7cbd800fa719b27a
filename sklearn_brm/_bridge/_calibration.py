"""Classifiers whose scores are mapped to probabilities, or cut at another threshold."""

import torch
from scipy.special import logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from ._ensembles import difference, log_mean
from ._interpolation import interpolate
from ._linear import two_columns
from ._registry import converts, passes_inputs_on


@converts(CalibratedClassifierCV)
@passes_inputs_on
def convert_calibrated(calibrated, target):
    """Logarithm of the mean of the calibrated probabilities of the folds."""
    folds = enumerate(calibrated.calibrated_classifiers_)
    return log_mean([_convert_fold(fold, f"calibrated_classifiers_[{i}]", target) for i, fold in folds])


@converts(FixedThresholdClassifier)
def convert_fixed_threshold(classifier, target):
    """Scores whose difference is by how much the positive class passes the threshold."""
    inner = getattr(classifier, "estimator_", classifier.estimator)
    threshold = None if classifier.threshold == "auto" else classifier.threshold
    is_last = classifier.pos_label is None or classifier.pos_label == classifier.classes_[1]
    return _with_threshold(classifier, inner, threshold, is_last, target)


@converts(TunedThresholdClassifierCV)
def convert_tuned_threshold(classifier, target):
    """Scores whose difference is by how much the positive class passes the threshold that was found."""
    # Scorers given by name take label 1 for the positive one; this one takes the last.
    is_last = classifier.scoring == "balanced_accuracy"
    if not is_last and not (isinstance(classifier.scoring, str) and classifier.classes_[1] == 1):
        raise target.refuse(classifier, "its scorer does not tell which class is the positive one")
    return _with_threshold(classifier, classifier.estimator_, classifier.best_threshold_, True, target)


def _with_threshold(classifier, inner, threshold, is_last, target):
    if target.response != "scores":
        return target.convert(inner, "estimator", response=target.response)
    by_proba = classifier.response_method == "predict_proba"
    by_proba |= classifier.response_method == "auto" and hasattr(inner, "predict_proba")
    function = target.convert(inner, "estimator", response="log_proba" if by_proba else "decision")
    if threshold is None:
        return function
    # The threshold is one of the positive class, the difference speaks for the last.
    offset = (1 if is_last else -1) * float(logit(threshold) if by_proba else threshold)
    return lambda X: two_columns(difference(function(X)) - offset)


def _convert_fold(fold, name, target):
    """Logarithms of the probabilities of one fold's classifier, calibrated per class."""
    if len(fold.estimator.classes_) != len(fold.classes):
        raise target.refuse(fold.estimator, "it was calibrated on a fold that lacks a class")
    by_decision = hasattr(fold.estimator, "decision_function")
    function = target.convert(fold.estimator, name, response="decision" if by_decision else "log_proba")
    if fold.method == "temperature":
        return _with_temperature(function, float(fold.calibrators[0].beta_), by_decision)
    calibrators = [_log_calibrator(calibrator, target) for calibrator in fold.calibrators]

    def binary(X):
        value = difference(function(X)) if by_decision else function(X)[:, 1].exp()
        log_positive, log_negative = calibrators[0](value)
        return torch.stack([log_negative, log_positive], dim=1)

    def one_per_class(X):
        columns = function(X) if by_decision else function(X).exp()
        logs = [calibrator(columns[:, k])[0] for k, calibrator in enumerate(calibrators)]
        return torch.stack(logs, dim=1).log_softmax(dim=1)

    return binary if len(fold.classes) == 2 else one_per_class


def _with_temperature(function, beta, by_decision):
    if not by_decision:
        # scikit-learn keeps the logarithm finite by this number.
        return lambda X: (beta * (function(X).exp() + 1e-12).log()).log_softmax(dim=1)

    def tempered(X):
        scores = function(X)
        # Two classes have the logits -d and d.
        return ((2 if scores.shape[1] == 2 else 1) * beta * scores).log_softmax(dim=1)

    return tempered


def _log_calibrator(calibrator, target):
    """Function from values, shape (n,), to the logarithms of the probability and of its complement."""
    if not isinstance(calibrator, IsotonicRegression):
        slope, offset = -float(calibrator.a_), -float(calibrator.b_)
        log_sigmoid = torch.nn.functional.logsigmoid
        return lambda value: (log_sigmoid(slope * value + offset), log_sigmoid(-slope * value - offset))
    knots, levels = target.tensor(calibrator.X_thresholds_), target.tensor(calibrator.y_thresholds_)
    floor = torch.finfo(target.dtype).tiny

    def isotonic(value):
        probability = interpolate(value[None], knots[None], levels)[0]
        return probability.clamp_min(floor).log(), (1 - probability).clamp_min(floor).log()

    return isotonic
