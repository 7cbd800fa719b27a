"""Pictures in scikit-learn's Display style."""

from ._trade_off import TradeOffDisplay

__all__ = ["TradeOffDisplay"]
