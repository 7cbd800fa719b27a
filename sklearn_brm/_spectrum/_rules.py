"""What may be said about a fit: its method and its window of ranks."""

import numbers
from typing import Any

from .._base import one_of, parameter_error

known_method = one_of("ols", "weighted", "robust")


def check_window(owner: object, name: str, value: str | tuple[Any, ...] | None, *, also: Any = ()) -> None:
    """Raise unless `value` is "auto", two ranks, or one of the literals in `also`."""
    if any(value is literal for literal in also) or (isinstance(value, str) and value == "auto"):
        return
    words = ", ".join(map(repr, ("auto", *also)))
    rule = f"{words} or (first, last) with ints 1 <= first < last, counted from 1"
    if not isinstance(value, (tuple, list)):
        raise parameter_error(owner, name, rule, value)
    integers = all(isinstance(end, numbers.Integral) and not isinstance(end, bool) for end in value)
    if len(value) != 2 or not integers or not 1 <= value[0] < value[1]:
        raise parameter_error(owner, name, rule, value, ValueError)
