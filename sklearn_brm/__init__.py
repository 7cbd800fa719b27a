"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

from sklearn_brm._encoder import WTAEncoder

__all__ = ["WTAEncoder"]

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._displays import TradeOffDisplay

__all__ = [
    "NotConvertibleError",
    "TradeOffDisplay",
    "convert",
    "register_converter",
    "register_function",
]
