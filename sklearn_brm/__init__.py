"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._displays import TradeOffDisplay
from ._encoder import WTAEncoder

__all__ = [
    "NotConvertibleError",
    "TradeOffDisplay",
    "WTAEncoder",
    "convert",
    "register_converter",
    "register_function",
]
