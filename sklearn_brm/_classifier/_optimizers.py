"""The optimizers that have a name, and their state as NumPy arrays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from ..functional.adam import Adam

# "lbfgs" is no optimizer of torch: it is what "auto" means where there is one optimum.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer, but for the learning rate, which may be another by now."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(as_tensors(state))
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate


def as_arrays(state: Any) -> Any:
    """Return a nested state of an optimiser with NumPy arrays for its tensors."""
    return _convert(state, torch.Tensor, lambda tensor: tensor.cpu().numpy().copy())


def as_tensors(state: Any) -> Any:
    """Undo `as_arrays`."""
    return _convert(state, np.ndarray, lambda array: torch.as_tensor(array.copy()))


def _convert(state: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    if isinstance(state, kind):
        return function(state)
    if isinstance(state, dict):
        return {key: _convert(value, kind, function) for key, value in state.items()}
    return [_convert(value, kind, function) for value in state] if isinstance(state, list) else state
