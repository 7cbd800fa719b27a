"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from sklearn_brm._constraints import FeatureConstraints
from sklearn_brm._robustness import (
    AdversarialExamples,
    CriticalPerturbations,
    RobustnessCurve,
    RobustnessWarning,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
)
from sklearn_brm._scorer import AdversarialScorer

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "CriticalPerturbations",
    "FeatureConstraints",
    "RobustnessCurve",
    "RobustnessWarning",
    "adversarial_examples",
    "critical_perturbations",
    "robustness_curve",
]
