"""Classifiers whose decision function is linear in the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn import linear_model
from sklearn.base import BaseEstimator
from sklearn.svm import LinearSVC
from torch import Tensor

from ...functional.layers import Affine, Layer, TwoColumns, sequence
from .._registry import converts_classifier, log_softmax

if TYPE_CHECKING:
    from .._registry import Target


class LogSigmoids(Layer):
    """From the scores of one classifier per class to logarithms of probabilities, normalised over classes."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms."""
        return torch.log_softmax(torch.nn.functional.logsigmoid(X), dim=1)


def no_probabilities(classifier: BaseEstimator) -> None:
    """Return None: nothing leads from the scores to probabilities."""


def _of_logistic(classifier: BaseEstimator) -> torch.nn.Module:
    several = len(classifier.classes_) > 2
    # Older versions of scikit-learn have the parameter, and let liblinear train one classifier per class.
    one_per_class = classifier.solver == "liblinear" or getattr(classifier, "multi_class", None) == "ovr"
    return LogSigmoids() if several and one_per_class else log_softmax()


def _of_sgd(classifier: BaseEstimator) -> LogSigmoids | torch.nn.Module | None:
    if classifier.loss != "log_loss":
        return None
    return LogSigmoids() if len(classifier.classes_) > 2 else log_softmax()


@converts_classifier(
    linear_model.LogisticRegression, linear_model.LogisticRegressionCV, log_proba=_of_logistic
)
@converts_classifier(linear_model.SGDClassifier, log_proba=_of_sgd)
@converts_classifier(
    LinearSVC,
    linear_model.PassiveAggressiveClassifier,
    linear_model.Perceptron,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    log_proba=no_probabilities,
)
def convert_linear(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
    """Decision values ``X @ coef_.T + intercept_``."""
    coef, intercept = target.tensor(classifier.coef_), target.tensor(classifier.intercept_)
    # A lone class score may come as a vector, and an intercept that was not fitted as a number.
    coef = coef.reshape(-1, coef.shape[-1])
    layer = Affine(coef.T.contiguous(), intercept.reshape(-1).expand(len(coef)).contiguous())
    return layer if len(classifier.classes_) > 2 else sequence(layer, TwoColumns())
