"""Functions handed to a `FunctionTransformer`, of which only registered ones are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import special
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer
from torch import Tensor

from ...functional.layers import Function, sequence
from .._registry import converts, register_torch_function, torch_function_of

if TYPE_CHECKING:
    from .._registry import Target

# Elementwise, and of the same name in both.
_NAMES = ["abs", "arcsinh", "arctan", "cos", "exp", "expm1", "log", "log10", "log1p", "log2", "negative"]
_NAMES += ["reciprocal", "sin", "sqrt", "square", "tanh"]
_SAME_IN_TORCH = {getattr(np, name): getattr(torch, name) for name in _NAMES}
_SAME_IN_TORCH |= {special.expit: torch.sigmoid, special.logit: torch.logit}


def cube_root(X: Tensor) -> Tensor:
    """Return the real cube root."""
    return X.sign() * X.abs().pow(1 / 3)


for function, torch_function in {**_SAME_IN_TORCH, np.cbrt: cube_root}.items():
    register_torch_function(function, torch_function)


@converts(FunctionTransformer)
def convert_function_transformer(transformer: BaseEstimator, target: Target) -> torch.nn.Module:
    """The registered torch function, with the same keyword arguments."""
    if transformer.func is None:
        return sequence()
    torch_function = torch_function_of(transformer.func)
    if torch_function is None:
        name = getattr(transformer.func, "__qualname__", repr(transformer.func))
        reason = f"the torch counterpart of {name} is not known; sklearn_brm.register_torch_function tells it"
        raise target.refuse(transformer, reason)
    return Function(torch_function, **(transformer.kw_args or {}))
