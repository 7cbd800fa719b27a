"""What one unit of eps is in each column, and what the norm of a ball is called."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import owner_name, parameter_error

if TYPE_CHECKING:
    from ._table import Table

_NORM_WORDS = {"inf": np.inf, "linf": np.inf, "l2": 2.0, "l1": 1.0}
_SPREADS = {
    "std": lambda table: table.deviation(),
    "range": lambda table: table.spread,
    "iqr": lambda table: table.quartile_range(),
}
_UNIT_WORDS = {"std": "standard deviations", "range": "ranges", "iqr": "interquartile ranges"}


class LearnedUnits(dict[int, float]):
    """The unit of each column, with the word for the spread that they were learned from."""

    def __init__(self, units: dict[int, float], word: str) -> None:
        super().__init__(units)
        self.word = word

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.word)


def unit_words(scale: Any) -> str:
    """Return in words what `eps` counts."""
    if scale is None:
        return "raw units"
    word = getattr(scale, "word", scale)
    return _UNIT_WORDS.get(word, "units of scale") if isinstance(word, str) else "units of scale"


def resolve_norm(owner: object, norm: float) -> float:
    """Return inf, 2 or 1 for a number or the usual word for it."""
    if isinstance(norm, str) and norm.lower() in _NORM_WORDS:
        return _NORM_WORDS[norm.lower()]
    is_number = isinstance(norm, numbers.Real) and not isinstance(norm, (bool, np.bool_))
    if not is_number or norm not in (np.inf, 2, 1):
        raise parameter_error(owner, "norm", "inf, 2 or 1, or 'linf', 'l2' or 'l1'", norm, ValueError)
    return float(norm)


def resolve_scale(owner: object, scale: Any, reference: Table | None, table: Table) -> np.ndarray:
    """Return the unit of each column of `table`; 0 where it does not move."""
    n_features = table.n_features
    if scale is None:
        return np.ones(n_features)
    if isinstance(scale, str):
        return spread_of(owner, needed(owner, "scale", scale, reference), scale)
    rule = (
        f"None, {', '.join(map(repr, _SPREADS))}, a number or {n_features} numbers, finite and none negative"
    )
    by_column = table.by_name(owner, "scale", scale)
    try:
        unit = np.asarray(by_column, dtype=float)
    except (TypeError, ValueError):
        raise parameter_error(owner, "scale", rule, scale, TypeError) from None
    if isinstance(scale, (bool, np.bool_)) or unit.shape not in ((), (n_features,)):
        raise parameter_error(owner, "scale", rule, scale, ValueError)
    unit = np.array(np.broadcast_to(unit, n_features))
    wrong = np.flatnonzero(~(np.isfinite(unit) & (unit >= 0)))
    if len(wrong):
        found = {table.keys()[j]: float(unit[j]) for j in wrong}
        raise parameter_error(owner, "scale", rule, found, ValueError)
    return unit


def spread_of(owner: object, table: Table, word: str) -> np.ndarray:
    """Return the spread of each column that a word asks for; 0 for constant ones."""
    if word not in _SPREADS:
        rule = f"None, {', '.join(map(repr, _SPREADS))}, a number or numbers by column"
        raise parameter_error(owner, "scale", rule, word)
    return _SPREADS[word](table)


def needed(owner: object, name: str, value: Any, reference: Table | None) -> Table:
    """Return the reference, or say that `value` cannot be learned without one."""
    if reference is None:
        raise ValueError(
            f"{name}={value!r} needs the 'reference_X' parameter of {owner_name(owner)}: data to learn it "
            "from, such as the training rows. The rows being scored do not tell it."
        )
    return reference
