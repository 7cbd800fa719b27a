"""Classifiers made of classifiers: soft votes, bags, and one per class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.multiclass import OneVsRestClassifier
from torch import Tensor

from ...functional.layers import Layer, LogSoftmax, Select, sequence
from .._registry import converts, passes_inputs_on

if TYPE_CHECKING:
    from .._registry import Target


class Members(Layer):
    """Several modules that look at the same rows."""

    def __init__(self, members: list[torch.nn.Module] | tuple[torch.nn.Module, torch.nn.Module]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)


class LogMean(Members):
    """Logarithm of the (weighted) mean of the exponentials of what the members say."""

    def __init__(
        self,
        members: list[torch.nn.Module] | tuple[torch.nn.Module, torch.nn.Module],
        weights: Any = None,
    ) -> None:
        super().__init__(members)
        weights = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=float)
        self.log_weights = np.log(weights / weights.sum()).tolist()

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms, of shape (n, n_classes)."""
        parts = [weight + member(X) for weight, member in zip(self.log_weights, self.members)]
        return torch.stack(parts).logsumexp(dim=0)


class Mean(Members):
    """Mean of what the members say."""

    def forward(self, X: np.ndarray) -> Any:
        """Return the means, of shape (n, n_classes)."""
        return sum(member(X) for member in self.members) / len(self.members)


class OnePerClass(Members):
    """The last column of what each member says, side by side."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the columns, of shape (n, n_members)."""
        return torch.stack([member(X)[:, -1] for member in self.members], dim=1)


class Difference(Layer):
    """The decision value of the second of two classes."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the differences, of shape (n, 1)."""
        return X[:, 1:] - X[:, :1]


class Place(Layer):
    """Columns put at the places of their classes; a class without a column never wins."""

    def __init__(self, places: Tensor, n_classes: int) -> None:
        super().__init__(places=places)
        self.n_classes = n_classes

    def forward(self, X: Tensor) -> Tensor:
        """Return one column per class."""
        scores = X.new_full((len(X), self.n_classes), torch.finfo(X.dtype).min)
        return scores.index_copy(1, self.places, X)


@converts(VotingClassifier)
@passes_inputs_on
def convert_voting(voting: BaseEstimator, target: Target) -> torch.nn.Module:
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
    return LogMean(*zip(*members))


@converts(BaggingClassifier)
def convert_bagging(bagging: BaseEstimator, target: Target) -> torch.nn.Module:
    """Logarithm of the mean of the members' probabilities, or the mean of their decision values."""
    is_decision = target.response == "decision"
    if not is_decision and not hasattr(bagging.estimators_[0], "predict_proba"):
        raise target.refuse(bagging, "members without predict_proba vote, and votes have no gradient")
    response = "decision" if is_decision else "log_proba"
    members = [_convert_bagged(bagging, i, response, target) for i in range(len(bagging.estimators_))]
    if is_decision:
        return Mean(members)
    return LogMean(members)


@converts(OneVsRestClassifier)
def convert_one_vs_rest(classifier: BaseEstimator, target: Target) -> torch.nn.Module:
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
        return OnePerClass([sequence(member, Difference()) for member in members])
    return sequence(OnePerClass(members), LogSoftmax())


def _convert_bagged(bagging: BaseEstimator, i: int, response: str, target: Target) -> torch.nn.Module:
    """The i-th member on its own features, with its classes among those of all."""
    member = bagging.estimators_[i]
    features = torch.as_tensor(np.asarray(bagging.estimators_features_[i]), device=target.device)
    module = sequence(Select(features), target.convert(member, f"estimators_[{i}]", response=response))
    if len(member.classes_) == bagging.n_classes_:
        return module
    # Its classes count from 0.
    places = torch.as_tensor(np.asarray(member.classes_, dtype=int), device=target.device)
    return sequence(module, Place(places, bagging.n_classes_))
