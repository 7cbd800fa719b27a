"""Classifiers whose decision function is linear in the features."""

import torch
from sklearn import linear_model
from sklearn.svm import LinearSVC

from ._registry import converts_classifier, log_softmax


def sigmoids(classifier=None):
    """Return the function from scores to logarithms of probabilities, for one classifier per class."""
    return lambda scores: torch.log_softmax(torch.nn.functional.logsigmoid(scores), dim=1)


def no_probabilities(classifier):
    """Return None: nothing leads from the scores to probabilities."""


def _of_logistic(classifier):
    several = len(classifier.classes_) > 2
    # Older versions of scikit-learn have the parameter, and let liblinear train one classifier per class.
    one_per_class = classifier.solver == "liblinear" or getattr(classifier, "multi_class", None) == "ovr"
    return sigmoids() if several and one_per_class else log_softmax()


def _of_sgd(classifier):
    if classifier.loss != "log_loss":
        return None
    return sigmoids() if len(classifier.classes_) > 2 else log_softmax()


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
def convert_linear(classifier, target):
    """Decision values ``X @ coef_.T + intercept_``."""
    coef, intercept = target.tensor(classifier.coef_), target.tensor(classifier.intercept_)
    if len(classifier.classes_) > 2:
        return lambda X: X @ coef.T + intercept
    return lambda X: two_columns(X @ coef.reshape(-1) + intercept.reshape(()))


def two_columns(decision):
    """Scores of both classes whose difference is the decision value of the second, shape (n,)."""
    return torch.stack([torch.zeros_like(decision), decision], dim=1)
