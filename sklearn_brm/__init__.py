"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function

__all__ = [
    "NotConvertibleError",
    "convert",
    "register_converter",
    "register_function",
]
