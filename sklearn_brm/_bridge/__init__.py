"""The bridge: a fitted scikit-learn estimator or Pipeline as a differentiable torch function."""

from . import _composition, _functions, _linear, _scalers  # noqa: F401 - importing them registers their converters
from ._registry import NotConvertibleError, Target, convert, register_converter, register_function
from ._verify import mismatch

__all__ = [
    "NotConvertibleError",
    "Target",
    "convert",
    "mismatch",
    "register_converter",
    "register_function",
]
