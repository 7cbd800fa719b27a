"""What a `ThreatModel` lets an attacker do, column by column, as a table for the screen and for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._table import Table
from ._threat import resolve_threat

if TYPE_CHECKING:
    from ._threat import Threat
    from ._threat_model import ThreatModel

_HEADER = ("column", "kind", "unit", "from", "to", "note")


@dataclass(frozen=True)
class ThreatDescription:
    """One row per column of a table: what it is, and what an attacker may do to it.

    Attributes
    ----------
    rows : list of tuple of str
        Column, kind, unit of `eps`, smallest and largest value, and a note.
    """

    rows: list[Any]

    def __str__(self) -> str:
        lines = [_HEADER, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADER))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        return f"<table><thead>{row(_HEADER, 'th')}</thead><tbody>{body}</tbody></table>"


def describe(model: ThreatModel, X: ArrayLike | None) -> ThreatDescription:
    """Return the `ThreatDescription` of a `ThreatModel` for the rows `X`, or for its own reference."""
    given = X is not None
    rows: Any = X if given else model.reference_X
    if rows is None:
        raise ValueError("ThreatModel.describe needs X: a threat without reference_X knows no columns.")
    table = Table(model, rows)
    # A reference may be the ends of columns, which obey no rule about rows.
    threat = resolve_threat(model, model, table, check_rows=given)
    return ThreatDescription([_row(table, threat, j) for j in range(table.n_features)])


def _row(table: Table, threat: Threat, j: int) -> Any:
    name = str(table.keys()[j])
    if j in threat.values:
        return name, _kind(table, threat, j), "", "", "", _note_of_category(threat, j)
    moves = threat.scale[j] > 0 and j not in threat.rules.fixed
    low, high = threat.rules.low[j], threat.rules.high[j]
    ends = [f"{end:.4g}" if np.isfinite(end) else "" for end in (low, high)]
    unit = f"{threat.scale[j]:.4g}" if moves else "fixed"
    return name, _kind(table, threat, j), unit, *ends, _note_of_number(table, threat, j)


def _kind(table: Table, threat: Threat, j: int) -> str:
    if table.is_number[j]:
        return "category" if j in threat.values else "integer" if j in threat.rules.integer else "number"
    return table.kinds[j]


def _note_of_category(threat: Threat, j: int) -> str:
    n_values = len(threat.values[j])
    changes = (threat.choices.feature == j).any()
    return f"{n_values} values" + ("" if changes else ", fixed")


def _note_of_number(table: Table, threat: Threat, j: int) -> str:
    in_group = any(j in group.members for group in threat.rules.one_hot)
    notes = ["one-hot"] if in_group else ["constant"] if table.spread[j] == 0 else []
    notes += ["only grows"] if j in threat.rules.increasing else []
    notes += ["only falls"] if j in threat.rules.decreasing else []
    n_missing = int(np.isnan(table.matrix[:, j]).sum())
    return ", ".join(notes + ([f"{n_missing} missing"] if n_missing else []))
