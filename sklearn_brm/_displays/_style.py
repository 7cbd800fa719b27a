"""What the pictures share: colours for colour-blind readers too, figures, and legends beside the data."""

# Okabe and Ito's palette (2008), without yellow, which is too faint for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def new_axes(n_columns=1, *, width=6.0, height=4.5, width_ratios=None):
    """Return axes side by side in a new figure that makes room for legends outside of them."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        ncols=n_columns,
        figsize=(width, height),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": width_ratios},
    )
    for ax in axes[0]:
        ax.set_prop_cycle(color=PALETTE)
    return list(axes[0])


def legend_above(ax, n_columns=2):
    """Put the legend above the axes, where it covers nothing."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=n_columns, borderaxespad=0, frameon=False)
