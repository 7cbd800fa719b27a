"""The regularising room: a perceptron under penalties, its training and the paper's settings."""

from ._estimator import RegularizedClassifier
from ._recipes import paper_recipe

__all__ = ["RegularizedClassifier", "paper_recipe"]
