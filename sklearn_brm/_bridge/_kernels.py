"""Support vector machines, and the kernels they share with others."""

import itertools

import numpy as np
import torch
from sklearn.svm import SVC, NuSVC

from ._linear import no_probabilities, two_columns
from ._registry import converts_classifier


@converts_classifier(SVC, NuSVC, log_proba=no_probabilities)
def convert_svc(classifier, target):
    """Decision values as in ``decision_function_shape="ovr"``, whose argmax is what `predict` says."""
    # The fitted gamma, which may be estimated from the data, has no public name.
    parameters = {"gamma": classifier._gamma, "coef0": classifier.coef0, "degree": classifier.degree}
    kernel = kernel_function(classifier, classifier.support_vectors_, target, **parameters)
    dual_coef, intercept = target.tensor(classifier.dual_coef_), target.tensor(classifier.intercept_)
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        return lambda X: two_columns(kernel(X) @ dual_coef[0] + intercept)
    coef = _coefficients_of_pairs(dual_coef, classifier.n_support_)
    breaks_ties = classifier.break_ties or target.response == "decision"
    return lambda X: votes_of_pairs(kernel(X) @ coef.T + intercept, n_classes, breaks_ties=breaks_ties)


def votes_of_pairs(decision, n_classes, *, breaks_ties=True):
    """Votes of the classifiers of pairs, plus less than a vote for the sum of their decision values.

    Column k of `decision`, shape (n, n_classes * (n_classes - 1) / 2), is positive where the k-th pair
    votes for its first class. Where the sum is not to break ties, but would, the first of the tied
    classes keeps its score and the others lose a vote.
    """
    pairs = torch.tensor(list(itertools.combinations(range(n_classes), 2)), device=decision.device)
    first, second = torch.nn.functional.one_hot(pairs.T, n_classes).to(decision.dtype)
    against = (decision < 0).to(decision.dtype)
    votes, total = (1 - against) @ first + against @ second, decision @ (first - second)
    scores = votes + total / (3 * (total.abs() + 1))
    if breaks_ties:
        return scores
    leads = votes == votes.amax(dim=1, keepdim=True)
    is_first = leads & (leads.cumsum(dim=1) == 1)
    is_beaten = (scores * is_first).sum(dim=1) < scores.amax(dim=1)
    return scores - (leads & ~is_first & is_beaten[:, None]).to(scores.dtype)


def kernel_function(estimator, rows, target, *, gamma, coef0, degree):
    """Return the function from X to its kernel values with `rows`, of shape (n, n_rows)."""
    rows = target.tensor(rows)
    if estimator.kernel == "linear":
        return lambda X: X @ rows.T
    if estimator.kernel in ("poly", "polynomial"):
        return lambda X: (gamma * (X @ rows.T) + coef0) ** degree
    if estimator.kernel == "sigmoid":
        return lambda X: torch.tanh(gamma * (X @ rows.T) + coef0)
    if estimator.kernel == "rbf":
        return lambda X: torch.exp(-gamma * _squared_distances(X, rows))
    raise target.refuse(estimator, f"its kernel {estimator.kernel!r} is not known in torch")


def _squared_distances(X, rows):
    # Around a common centre the three terms are small, and cancel less.
    centre = rows.mean(dim=0)
    X, rows = X - centre, rows - centre
    squares = X.square().sum(dim=1, keepdim=True) + rows.square().sum(dim=1) - 2 * X @ rows.T
    return squares.clamp(min=0)


def _coefficients_of_pairs(dual_coef, n_support):
    """Spread libsvm's coefficients, (n_classes - 1, n_rows), over one line per pair of classes.

    A support vector of class i has one coefficient for each other class j, in row j, or j - 1 where j > i.
    """
    ends = np.cumsum(n_support)
    of_class = [slice(end - n, end) for end, n in zip(ends, n_support)]
    pairs = list(itertools.combinations(range(len(n_support)), 2))
    coef = dual_coef.new_zeros(len(pairs), dual_coef.shape[1])
    for line, (i, j) in zip(coef, pairs):
        line[of_class[i]] = dual_coef[j - 1, of_class[i]]
        line[of_class[j]] = dual_coef[i, of_class[j]]
    return coef
