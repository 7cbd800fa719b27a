"""Pictures in scikit-learn's Display style."""

<<<<<<< HEAD
from ._decision_plane import DecisionPlaneDisplay
from ._receptive_fields import ReceptiveFieldDisplay
from ._robustness_curve import RobustnessCurveDisplay
from ._trade_off import TradeOffDisplay

<<<<<<< HEAD
__all__ = ["DecisionPlaneDisplay", "RobustnessCurveDisplay", "TradeOffDisplay"]
=======
from ._spectrum import SpectrumDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["SpectrumDisplay", "TradeOffDisplay"]
>>>>>>> spectrum
=======
__all__ = ["DecisionPlaneDisplay", "ReceptiveFieldDisplay", "RobustnessCurveDisplay", "TradeOffDisplay"]
>>>>>>> encoder
