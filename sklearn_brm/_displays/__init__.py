"""Pictures in scikit-learn's Display style."""

from ._receptive_fields import ReceptiveFieldDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["ReceptiveFieldDisplay", "TradeOffDisplay"]
