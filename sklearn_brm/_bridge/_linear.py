"""Classifiers whose decision function is linear in the features."""

import torch
from sklearn import linear_model
from sklearn.svm import LinearSVC

from ._registry import converts

_LINEAR_CLASSIFIERS = [
    LinearSVC,
    linear_model.LogisticRegression,
    linear_model.LogisticRegressionCV,
    linear_model.PassiveAggressiveClassifier,
    linear_model.Perceptron,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    linear_model.SGDClassifier,
]


@converts(*_LINEAR_CLASSIFIERS)
def convert_linear(classifier, target):
    """Decision values ``X @ coef_.T + intercept_``."""
    if target.transforms:
        raise target.refuse(classifier, "it classifies, and here it is asked to transform")
    coef, intercept = target.tensor(classifier.coef_), target.tensor(classifier.intercept_)
    if len(classifier.classes_) > 2:
        return lambda X: X @ coef.T + intercept
    return lambda X: two_columns(X @ coef.reshape(-1) + intercept.reshape(()))


def two_columns(decision):
    """Scores of both classes whose difference is the decision value of the second, shape (n,)."""
    return torch.stack([torch.zeros_like(decision), decision], dim=1)
