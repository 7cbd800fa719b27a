"""The regularising room: a perceptron under penalties, its training and the paper's settings."""

from ._estimator import RegularizedClassifier
from ._recipes import paper_recipe
from ._search import RegularizedClassifierCV

__all__ = ["RegularizedClassifier", "RegularizedClassifierCV", "paper_recipe"]
