"""The bridge: a fitted scikit-learn estimator or Pipeline as a differentiable torch module."""

from . import converters  # noqa: F401 - importing them registers them
from ._codes import CodedInputs
from ._registry import (
    NotConvertibleError,
    Target,
    convert_coded,
    register_converter,
    register_torch_function,
    to_torch,
)
from ._verify import mismatch, one_column_per_class
from .tree_ensembles import tree_ensemble
from .tree_splits import split_draw, split_points

__all__ = [
    "CodedInputs",
    "NotConvertibleError",
    "Target",
    "convert_coded",
    "mismatch",
    "one_column_per_class",
    "register_converter",
    "register_torch_function",
    "split_draw",
    "split_points",
    "to_torch",
    "tree_ensemble",
]
