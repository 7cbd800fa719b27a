"""Support vector machines, and the kernels they share with others."""

import itertools

import numpy as np
import torch
from sklearn.svm import SVC, NuSVC

from ._linear import no_probabilities, two_columns
from ._registry import converts_classifier

# A decision value of a pair that is worth half a vote; the margin lies at 1.
_HALF_A_VOTE = 0.3
# By how much the predicted class leads where only the count of votes speaks for it.
_LEAD = 1e-3


@converts_classifier(SVC, NuSVC, log_proba=no_probabilities)
def convert_svc(classifier, target):
    """The decision value of two classes, or of several the smoothed votes and the least duel of each.

    The decision function of several classes counts votes, which is flat: attacks that follow its gradient
    break far fewer rows than those that follow the pairs of classes which have to flip.
    """
    # The fitted gamma, which may be estimated from the data, has no public name.
    parameters = {"gamma": classifier._gamma, "coef0": classifier.coef0, "degree": classifier.degree}
    kernel = kernel_function(classifier, classifier.support_vectors_, target, **parameters)
    dual_coef, intercept = target.tensor(classifier.dual_coef_), target.tensor(classifier.intercept_)
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        return lambda X: two_columns(kernel(X) @ dual_coef[0] + intercept)
    coef = _coefficients_of_pairs(dual_coef, classifier.n_support_)
    if target.response == "decision":
        return lambda X: _votes_and_decision(kernel(X) @ coef.T + intercept, n_classes)[1]

    breaks_ties = classifier.break_ties

    def scores(X):
        pairs = kernel(X) @ coef.T + intercept
        votes, decision = _votes_and_decision(pairs, n_classes)
        winner = (decision if breaks_ties else votes).argmax(dim=1, keepdim=True)
        return _raised(_strength(pairs, n_classes), winner)

    return scores


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


def _pairs(n_classes, device):
    """First and second class of every pair, in libsvm's order."""
    return torch.tensor(list(itertools.combinations(range(n_classes), 2)), device=device).T


def _votes_and_decision(pairs, n_classes):
    """Votes of each class, and `decision_function` in the shape "ovr".

    Column k of `pairs` is positive where the k-th pair votes for its first class. The decision adds less
    than a vote for the sum of the decision values.
    """
    one_hot = torch.nn.functional.one_hot(_pairs(n_classes, pairs.device), n_classes)
    first, second = one_hot.to(pairs.dtype)
    against = (pairs < 0).to(pairs.dtype)
    votes, total = (1 - against) @ first + against @ second, pairs @ (first - second)
    return votes, votes + total / (3 * (total.abs() + 1))


def _strength(pairs, n_classes):
    """Sum of each class's votes, smoothed, and its least decision value against any other.

    Near the boundary the least duel is the one that has to flip; far from it, where every duel is nearly
    lost, the smoothed votes say which to win first, and unlike a sigmoid they never go flat.
    """
    first, second = _pairs(n_classes, pairs.device)
    duels = pairs.new_zeros((len(pairs), n_classes, n_classes))
    duels[:, first, second], duels[:, second, first] = pairs, -pairs
    votes = (duels / (_HALF_A_VOTE + duels.abs())).sum(dim=2)
    itself = torch.eye(n_classes, dtype=torch.bool, device=pairs.device)
    return votes + duels.masked_fill(itself, torch.inf).amin(dim=2)


def _raised(scores, winner):
    """Add a constant to the score of the winner so that it leads, where the count of votes says otherwise."""
    best, leader = scores.detach().max(dim=1, keepdim=True)
    lag = best - scores.detach().gather(1, winner)
    return scores.scatter_add(1, winner, (lag + _LEAD) * (leader != winner))


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
