"""What the parameters of the classifier that hold more than a number or a word may be."""

import inspect
import numbers

from skorch.callbacks import Callback

from .._base import check_number, parameter_error


def layer_sizes(owner, name, value):
    """Return the numbers of units of the hidden layers as a list, or raise."""
    try:
        sizes = [value] if isinstance(value, numbers.Integral) else list(value)
        for size in sizes:
            check_number(owner, name, size, "[1, inf)", kind=numbers.Integral)
    except (TypeError, ValueError) as error:
        rule = "an int in [1, inf) or a tuple of such, empty for a linear classifier"
        raise parameter_error(owner, name, rule, value, type(error)) from None
    return [int(size) for size in sizes]


def class_weights(owner, name, value):
    """Check weights by label, "balanced" or None."""
    if isinstance(value, dict):
        for label, weight in value.items():
            check_number(owner, f"{name}[{label!r}]", weight, "[0, inf)")
    elif value is not None and not (isinstance(value, str) and value == "balanced"):
        raise parameter_error(owner, name, "'balanced', a dict of weights by label or None", value)


def skorch_callbacks(owner, name, value):
    """Check a list of skorch callbacks or None."""
    rule = "a list of skorch callbacks or None"
    if value is not None and not isinstance(value, (list, tuple)):
        raise parameter_error(owner, name, rule, value)
    for item in value or ():
        if not _is_callback(item):
            rule += ", each an instance, a class that needs no argument, or a pair of a name and such"
            raise parameter_error(owner, name, rule, item, TypeError)


def _is_callback(item):
    if isinstance(item, (list, tuple)):
        return len(item) == 2 and isinstance(item[0], str) and _is_callback(item[1])
    if not isinstance(item, type):
        return isinstance(item, Callback)
    if not issubclass(item, Callback):
        return False
    required = [p for p in inspect.signature(item).parameters.values() if p.default is p.empty]
    return all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required)
