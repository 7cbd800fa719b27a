"""Pictures in scikit-learn's Display style."""

from ._spectrum import SpectrumDisplay
from ._trade_off import TradeOffDisplay

__all__ = ["SpectrumDisplay", "TradeOffDisplay"]
