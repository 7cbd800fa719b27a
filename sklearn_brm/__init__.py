"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._classifier import RegularizedClassifier, paper_recipe

__all__ = ["RegularizedClassifier", "paper_recipe"]
