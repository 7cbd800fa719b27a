"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, register_converter, register_torch_function, to_torch
from ._classifier import RegularizedClassifier, paper_recipe
from ._displays import DecisionPlaneDisplay, RobustnessCurveDisplay, TradeOffDisplay
from ._encoder import WTAEncoder
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
from ._spectrum import PowerLawSpectrum, SpectrumWarning

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "CriticalPerturbations",
    "DecisionPlaneDisplay",
    "FeatureConstraints",
    "NotConvertibleError",
    "PowerLawSpectrum",
    "RegularizedClassifier",
    "RobustnessCurve",
    "RobustnessCurveDisplay",
    "RobustnessWarning",
    "SpectrumWarning",
    "TradeOffDisplay",
    "WTAEncoder",
    "adversarial_examples",
    "critical_perturbations",
    "paper_recipe",
    "register_converter",
    "register_torch_function",
    "robustness_curve",
    "to_torch",
]
