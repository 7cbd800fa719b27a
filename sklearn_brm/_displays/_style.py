"""What the pictures share: colours for colour-blind readers too, figures, and legends beside the data."""

from typing import Any

import numpy as np

from .._base import parameter_error

# Okabe and Ito's palette (2008), without yellow, which is too faint for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Paul Tol's muted scheme (2021), for areas of up to ten classes.
AREAS = (
    "#88CCEE",
    "#CC6677",
    "#DDCC77",
    "#117733",
    "#332288",
    "#AA4499",
    "#44AA99",
    "#999933",
    "#882255",
    "#DDDDDD",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def resolve_axes(owner: object, ax: Any, n_axes: int = 1, *, at_most: int = 1, **kwargs: Any) -> list[Any]:
    """Return the axes that the user gave, up to `at_most`, as a list, or `n_axes` in a new figure."""
    return check_axes(owner, ax, at_most=at_most) or new_axes(n_axes, **kwargs)


def check_axes(owner: object, ax: Any, name: str = "ax", *, at_most: int = 1) -> list[Any]:
    """Return the axes that the user gave as a list, empty for None; raise if they are anything else."""
    if ax is None:
        return []
    from matplotlib.axes import Axes

    axes = np.asarray(ax, dtype=object).ravel().tolist()
    rule = "matplotlib Axes or None" if at_most == 1 else "matplotlib Axes, a pair of them or None"
    if not axes or not all(isinstance(one, Axes) for one in axes):
        raise parameter_error(owner, name, rule, ax)
    if len(axes) > at_most:
        raise parameter_error(owner, name, rule, ax, ValueError)
    return axes


def new_axes(
    n_axes: int = 1, *, width: float = 6.0, height: float = 4.5, width_ratios: list[float] | None = None
) -> list[Any]:
    """Return axes side by side in a new figure that makes room for legends outside of them."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        ncols=n_axes,
        figsize=(width, height),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": width_ratios},
    )
    for ax in axes[0]:
        ax.set_prop_cycle(color=PALETTE)
    return list(axes[0])


def legend_above(ax: Any, handles: Any = None, *, share: float = 1.0) -> None:
    """Put the legend above the axes, where it covers nothing, in as many columns as fit.

    `share` of the width is counted on; a colour bar will take the rest.
    """
    if handles is None:
        # Several displays in the same axes explain what they share once.
        handles = {handle.get_label(): handle for handle in ax.get_legend_handles_labels()[0]}.values()
    # A letter is about a twelfth of an inch wide; six are for the sign in front and the gap behind. A legend
    # wider than its axes would make the layout squeeze them.
    n_letters = 12 * share * ax.get_window_extent().width / ax.figure.dpi
    n_columns = int(n_letters // (6 + max(len(handle.get_label()) for handle in handles)))
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0, "frameon": False}
    ax.legend(handles=list(handles), ncols=max(1, n_columns), **place)


def spans_decades(values: np.ndarray, factor: int = 30) -> bool:
    """Whether positive values differ so much that a logarithmic scale shows them better."""
    values = np.asarray(values, dtype=float)
    return len(values) > 0 and values.min() > 0 and values.max() > factor * values.min()
