"""Pictures in scikit-learn's Display style."""

from ._attack_profile import AttackProfileDisplay
from ._decision_plane import DecisionPlaneDisplay
from ._driving_patches import DrivingPatchDisplay
from ._receptive_fields import ReceptiveFieldDisplay
from ._robustness_curve import RobustnessCurveDisplay
from ._spectrum import SpectrumDisplay
from ._trade_off import TradeOffDisplay

__all__ = [
    "AttackProfileDisplay",
    "DecisionPlaneDisplay",
    "DrivingPatchDisplay",
    "ReceptiveFieldDisplay",
    "RobustnessCurveDisplay",
    "SpectrumDisplay",
    "TradeOffDisplay",
]
