"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._displays import DecisionPlaneDisplay, RobustnessCurveDisplay, TradeOffDisplay
from ._scorer import (
    AdversarialExamples,
    AdversarialScorer,
    CriticalPerturbations,
    FeatureConstraints,
    RobustnessCurve,
    RobustnessWarning,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
)

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "CriticalPerturbations",
    "DecisionPlaneDisplay",
    "FeatureConstraints",
    "NotConvertibleError",
    "RobustnessCurve",
    "RobustnessCurveDisplay",
    "RobustnessWarning",
    "TradeOffDisplay",
    "adversarial_examples",
    "convert",
    "critical_perturbations",
    "register_converter",
    "register_function",
    "robustness_curve",
]
