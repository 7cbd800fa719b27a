"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._classifier import RegularizedClassifier, paper_recipe
from ._displays import TradeOffDisplay
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
from ._sharing import SharedArray
from ._spectrum import PowerLawSpectrum, SpectrumWarning

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "CriticalPerturbations",
    "FeatureConstraints",
    "NotConvertibleError",
    "PowerLawSpectrum",
    "RegularizedClassifier",
    "RobustnessCurve",
    "RobustnessWarning",
    "SharedArray",
    "SpectrumWarning",
    "TradeOffDisplay",
    "WTAEncoder",
    "adversarial_examples",
    "convert",
    "critical_perturbations",
    "paper_recipe",
    "register_converter",
    "register_function",
    "robustness_curve",
]
