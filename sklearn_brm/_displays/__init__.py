"""Pictures in scikit-learn's Display style."""

<<<<<<< HEAD
from ._decision_plane import DecisionPlaneDisplay
from ._robustness_curve import RobustnessCurveDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["DecisionPlaneDisplay", "RobustnessCurveDisplay", "TradeOffDisplay"]
=======
from ._spectrum import SpectrumDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["SpectrumDisplay", "TradeOffDisplay"]
>>>>>>> spectrum
