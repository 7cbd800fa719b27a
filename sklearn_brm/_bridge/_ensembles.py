"""Classifiers made of classifiers: soft votes, bags, and one per class."""

import numpy as np
import torch
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.multiclass import OneVsRestClassifier

from ._registry import converts, passes_inputs_on


@converts(VotingClassifier)
@passes_inputs_on
def convert_voting(voting, target):
    """Logarithm of the weighted mean of the members' probabilities."""
    if voting.voting == "hard":
        raise target.refuse(voting, "hard votes are step functions, whose gradient is zero")
    if target.response == "transform":
        raise target.refuse(voting, "it stands before another step, and its transform is not known in torch")
    weights = [1.0] * len(voting.estimators) if voting.weights is None else voting.weights
    voters = [
        (name, weight) for (name, member), weight in zip(voting.estimators, weights) if member != "drop"
    ]
    members = [
        (target.convert(member, name, response="log_proba"), weight)
        for member, (name, weight) in zip(voting.estimators_, voters)
        if weight > 0
    ]
    return log_mean(*zip(*members))


@converts(BaggingClassifier)
def convert_bagging(bagging, target):
    """Logarithm of the mean of the members' probabilities, or the mean of their decision values."""
    is_decision = target.response == "decision"
    if not is_decision and not hasattr(bagging.estimators_[0], "predict_proba"):
        raise target.refuse(bagging, "members without predict_proba vote, and votes have no gradient")
    response = "decision" if is_decision else "log_proba"
    members = [_convert_bagged(bagging, i, response, target) for i in range(len(bagging.estimators_))]
    if is_decision:
        return lambda X: sum(member(X) for member in members) / len(members)
    return log_mean(members)


@converts(OneVsRestClassifier)
def convert_one_vs_rest(classifier, target):
    """The decision value of each class's own classifier, or the logarithm of its probability."""
    if classifier.multilabel_:
        raise target.refuse(classifier, "it predicts several labels per row")
    first, response = classifier.estimators_[0], target.response
    if response == "scores":
        response = "decision" if hasattr(first, "decision_function") else "log_proba"
    members = [
        target.convert(member, f"estimators_[{i}]", response=response)
        for i, member in enumerate(classifier.estimators_)
    ]
    if len(members) == 1:
        return members[0]
    if response == "decision":
        return lambda X: torch.stack([difference(member(X)) for member in members], dim=1)
    return lambda X: torch.stack([member(X)[:, 1] for member in members], dim=1).log_softmax(dim=1)


def log_mean(members, weights=None):
    """Return the function to the logarithm of the weighted mean of exp(member(X))."""
    weights = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=float)
    log_weights = np.log(weights / weights.sum()).tolist()

    def function(X):
        return torch.stack([w + member(X) for w, member in zip(log_weights, members)]).logsumexp(dim=0)

    return function


def difference(scores):
    """The decision value of the second of two classes."""
    return scores[:, 1] - scores[:, 0]


def _convert_bagged(bagging, i, response, target):
    """The i-th member on its own features, with its classes among those of all."""
    member = bagging.estimators_[i]
    features = torch.as_tensor(np.asarray(bagging.estimators_features_[i]), device=target.device)
    function = target.convert(member, f"estimators_[{i}]", response=response)
    if len(member.classes_) == bagging.n_classes_:
        return lambda X: function(X[:, features])
    # A member that never saw a class gives it no probability; its classes count from 0.
    places = torch.as_tensor(np.asarray(member.classes_, dtype=int), device=target.device)
    never = torch.finfo(target.dtype).min

    def placed(X):
        scores = X.new_full((len(X), bagging.n_classes_), never)
        return scores.index_copy(1, places, function(X[:, features]))

    return placed
