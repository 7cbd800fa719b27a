"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.2.0.dev0"

from ._bridge import NotConvertibleError, register_converter, register_torch_function, to_torch
from ._classifier import RegularizedClassifier, RegularizedClassifierCV, paper_recipe
from ._displays import (
    AttackProfileDisplay,
    DecisionPlaneDisplay,
    DrivingPatchDisplay,
    ReceptiveFieldDisplay,
    RobustnessCurveDisplay,
    SpectrumDisplay,
    TradeOffDisplay,
)
from ._encoder import PatchEncoder, WTAEncoder
from ._robustness import (
    AdversarialExamples,
    AdversarialScorer,
    Certificates,
    CriticalPerturbations,
    NotCertifiableError,
    RobustnessCurve,
    RobustnessWarning,
    SmoothedClassifier,
    ThreatModel,
    adversarial_examples,
    certified_radii,
    certify,
    critical_perturbations,
    from_art,
    from_foolbox,
    robustness_curve,
)
from ._sharing import SharedArray
from ._spectrum import PowerLawSpectrum, SpectrumWarning, pipeline_spectra

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "AttackProfileDisplay",
    "Certificates",
    "CriticalPerturbations",
    "DecisionPlaneDisplay",
    "DrivingPatchDisplay",
    "NotCertifiableError",
    "NotConvertibleError",
    "PatchEncoder",
    "PowerLawSpectrum",
    "ReceptiveFieldDisplay",
    "RegularizedClassifier",
    "RegularizedClassifierCV",
    "RobustnessCurve",
    "RobustnessCurveDisplay",
    "RobustnessWarning",
    "SharedArray",
    "SmoothedClassifier",
    "SpectrumDisplay",
    "SpectrumWarning",
    "ThreatModel",
    "TradeOffDisplay",
    "WTAEncoder",
    "adversarial_examples",
    "certified_radii",
    "certify",
    "critical_perturbations",
    "from_art",
    "from_foolbox",
    "paper_recipe",
    "pipeline_spectra",
    "register_converter",
    "register_torch_function",
    "robustness_curve",
    "to_torch",
]
