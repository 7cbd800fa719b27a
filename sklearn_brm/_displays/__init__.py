"""Pictures in scikit-learn's Display style."""

from ._decision_plane import DecisionPlaneDisplay
from ._robustness_curve import RobustnessCurveDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["DecisionPlaneDisplay", "RobustnessCurveDisplay", "TradeOffDisplay"]
