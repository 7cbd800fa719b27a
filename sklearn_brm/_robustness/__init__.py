"""Attack any fitted classifier in its raw input space, and score it by what is left."""

from ._attacks import Attack, AttackContext
from ._certificates import Certificates, certified_radii, certify
from ._doubts import RobustnessWarning
from ._foreign import from_art, from_foolbox
from ._functions import adversarial_examples, common_radii, critical_perturbations, robustness_curve
from ._provers import NotCertifiableError
from ._results import AdversarialExamples, CriticalPerturbations, RobustnessCurve, curve_of_predictions
from ._scorer import AdversarialScorer
from ._smoothing import SmoothedClassifier
from ._table import Table
from ._threat_model import ThreatModel

__all__ = [
    "AdversarialExamples",
    "AdversarialScorer",
    "Attack",
    "AttackContext",
    "Certificates",
    "CriticalPerturbations",
    "NotCertifiableError",
    "RobustnessCurve",
    "RobustnessWarning",
    "SmoothedClassifier",
    "Table",
    "ThreatModel",
    "adversarial_examples",
    "certified_radii",
    "certify",
    "common_radii",
    "critical_perturbations",
    "curve_of_predictions",
    "from_art",
    "from_foolbox",
    "robustness_curve",
]
