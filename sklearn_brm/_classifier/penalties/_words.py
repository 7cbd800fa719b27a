"""From what the user gave for `penalty` to penalties by label."""

import re
from collections.abc import Container
from typing import Any

from ..._base import parameter_error, with_plain_numbers
from ._adversarial import Adversarial
from ._base import Penalty
from ._input_gradient import InputGradient
from ._interval import Interval
from ._jacobian import Jacobian
from ._linear_relaxation import LinearRelaxation
from ._spectral import Spectral
from ._weights import L1, L2


def label_of(penalty_type: type) -> str:
    """Return the name of a class in small letters: "input_gradient" for InputGradient."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", penalty_type.__name__).lower()


_KINDS = (L1, L2, Jacobian, Spectral, InputGradient, Adversarial, Interval, LinearRelaxation)
WORDS: dict[str, type[Penalty]] = {label_of(kind): kind for kind in _KINDS}
_RULE = f"None, {', '.join(map(repr, WORDS))}, a Penalty or a list of such"


def any_penalty(owner: object, name: str, value: Any) -> None:
    """Check the parameter `penalty`: None, a word, an object, or a list of words and objects."""
    for item in value if isinstance(value, (list, tuple)) else [] if value is None else [value]:
        if not (isinstance(item, Penalty) or (isinstance(item, str) and item in WORDS)):
            raise parameter_error(owner, name, _RULE, item)


def penalties_by_label(penalty: Any, alpha: float | str) -> dict[str, Penalty]:
    """Return a copy of every penalty by a label of its own.

    Parameters
    ----------
    penalty : None, str, Penalty or list of str and Penalty
    alpha : float or "auto"
        In place of the strength of a single penalty.
    """
    items = list(penalty) if isinstance(penalty, (list, tuple)) else [] if penalty is None else [penalty]
    found: dict[str, Penalty] = {}
    for item in items:
        item = with_plain_numbers(WORDS[item]() if isinstance(item, str) else item)
        if alpha != "auto":
            item.alpha = alpha
        found[_new_label(label_of(type(item)), found)] = item
    return found


def _new_label(label: str, taken: Container[str]) -> str:
    new, count = label, 1
    while new in taken:
        count += 1
        new = f"{label} ({count})"
    return new
