"""The bridge: a fitted scikit-learn estimator or Pipeline as a differentiable torch function."""

from . import (  # noqa: F401 - importing them registers their converters
    _calibration,
    _composition,
    _ensembles,
    _expansions,
    _functions,
    _kernels,
    _linear,
    _networks,
    _probabilistic,
    _projections,
    _scalers,
)
from ._codes import CodedInputs
from ._registry import (
    NotConvertibleError,
    Target,
    convert_coded,
    register_converter,
    register_torch_function,
    to_torch,
)
from ._verify import mismatch

__all__ = [
    "CodedInputs",
    "NotConvertibleError",
    "Target",
    "convert_coded",
    "mismatch",
    "register_converter",
    "register_torch_function",
    "to_torch",
]
