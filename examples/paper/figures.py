"""The figures of the paper, and those past it, as PNG and PDF."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from sklearn_brm import (
    DecisionPlaneDisplay,
    ReceptiveFieldDisplay,
    RobustnessCurve,
    RobustnessCurveDisplay,
    SpectrumDisplay,
)

from . import measure
from .models import IMAGE_SHAPE
from .settings import ATTACKS, MODELS, PAPER

COLORS = dict(zip(MODELS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")))
MARKERS = dict(zip(MODELS, "os^Dv"))

TITLES = {
    "figure1": "Relative accuracy against the size of the perturbation, and critical norms",
    "figure2": "Spectra of the representations of test images, cut to growing numbers of units",
    "figure3": "Spectra of the representations of white noise",
    "figure4": "The norm of the Jacobian and the class regions on a random plane through a test image",
    "figureA1": "What the local learning found: units, variances, and spectra before and after pruning",
    "figureA2": "Test accuracy against the median critical norm",
    "beyond1": "Critical norms under the paper's PGD and under the worst case",
    "beyond2": "Accuracy against critical norm: the paper's models and the candidates of the search",
    "beyond3": "Exponent of the spectrum against critical norm",
}


def draw_all(results, past, reproduction):
    """Draw every figure that there are results for; return name -> path of the PNG."""
    drawings = {
        "figure1": lambda: figure1(results, reproduction.settings.data),
        "figure2": lambda: spectra_figure(results, "data"),
        "figure3": lambda: spectra_figure(results, "noise"),
        "figure4": lambda: figure4(results),
        "figureA1": lambda: figure_a1(results, reproduction.settings.data),
        "figureA2": lambda: figure_a2(results, reproduction.settings.data),
    }
    if past:
        drawings["beyond1"] = lambda: beyond1(past)
        drawings["beyond3"] = lambda: beyond3(past)
    if "search" in past:
        drawings["beyond2"] = lambda: beyond2(results, past)
    paths = {}
    for name, draw in drawings.items():
        figure = draw()
        for suffix in ("png", "pdf"):
            paths[name] = reproduction.folder / f"{name}.{suffix}"
            figure.savefig(paths[name], dpi=130)
        paths[name] = reproduction.folder / f"{name}.png"
        plt.close(figure)
    return paths


def figure1(results, data):
    """One row per attack: curves at the left, boxes at the right."""
    figure, axes = plt.subplots(
        len(ATTACKS), 2, figsize=(10, 4.2 * len(ATTACKS)), width_ratios=[3, 2], layout="constrained"
    )
    for place, ((attack, title), pair) in enumerate(zip(ATTACKS.items(), axes)):
        largest = measure.LARGEST_EPS[data][attack]
        curves = {name: curve_of(results[name]["critical"], attack, largest) for name in MODELS}
        for ax in pair:
            ax.set_prop_cycle(color=list(COLORS.values()))
        display = RobustnessCurveDisplay(curves=curves, relative=True).plot(ax=pair)
        for line in display.lines_:
            line.set(markersize=0)
        label = "standard deviation of the noise" if attack == "gaussian" else "largest change of a pixel"
        pair[0].set(xlabel=f"{title}: {label}", ylabel="relative accuracy")
        pair[1].set(ylabel="critical norm (Euclidean)")
        pair[1].set_yscale("linear")
        if place:
            pair[0].get_legend().remove()
    return figure


def curve_of(critical, attack, largest):
    """Return a `RobustnessCurve` of the radii at which each row broke."""
    radius, norm = critical[f"{attack}_radius"], critical[f"{attack}_norm"]
    eps = np.geomspace(largest / 1000, largest, 60)
    relative, clean = measure.curve(radius, eps), float((radius > 0).mean())
    return RobustnessCurve(
        eps=eps,
        accuracy=relative * clean,
        relative_accuracy=relative,
        clean_accuracy=clean,
        radius=radius,
        l2_norm=norm,
    )


def spectra_figure(results, source):
    """One axes per model: its spectra, fading towards fewer units, beside those of the input."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 9), sharex=True, layout="constrained")
    names = [*MODELS, "BP at initialisation"]
    for name, ax in zip(names, axes.ravel()):
        found = measure.spectra_of(results[name]["spectra"], source)
        color = COLORS.get(name, "#555555")
        opacities = np.geomspace(0.2, 1, len(found))
        for (width, (values, exponent, _)), alpha in zip(found.items(), opacities):
            ranks = np.flatnonzero(values > values.max() * 1e-12) + 1
            label = (
                rf"{width} units: $\alpha$ = {exponent:.2f}" if np.isfinite(exponent) else f"{width} units"
            )
            ax.plot(ranks, values[ranks - 1], color=color, alpha=alpha, linewidth=1.6, label=label)
        values, exponent, intercept = found[max(found)]
        ranks = np.array(window_of(source, len(values)))
        ax.plot(ranks, np.exp(intercept) * ranks**-exponent, color="black", linestyle="--", linewidth=1.2)
        ax.set(xscale="log", yscale="log", title=name)
        ax.legend(fontsize="x-small", loc="lower left", frameon=False)
    for ax in axes[-1]:
        ax.set(xlabel="rank $n$")
    for ax in axes[:, 0]:
        ax.set(ylabel=r"eigenvalue $\lambda_n$")
    return figure


def window_of(source, width):
    """Return the ranks that the widest spectrum was fitted over."""
    data = "cifar10" if width > 500 else "digits"
    first, last = measure.WINDOWS[data][source == "noise"]
    return first, min(last, width)


def figure4(results):
    """One column per model: the landscape above, the regions below."""
    figure, axes = plt.subplots(2, len(MODELS), figsize=(4 * len(MODELS), 7.5), layout="constrained")
    for column, name in enumerate(MODELS):
        found = results[name]["plane"]
        display = DecisionPlaneDisplay(**{key: found[key] for key in found})
        display.plot(ax=[axes[1, column], axes[0, column]])
        low, high = found["jacobian_norm"].min(), found["jacobian_norm"].max()
        axes[0, column].set(title=f"{name}: {low:.3g} to {high:.3g}", xlabel="", ylabel="")
        axes[1, column].set(xlabel="", ylabel="")
    return figure


def figure_a1(results, data):
    """Units as images, the histogram of their variances, and spectra raw and pruned."""
    found = results["KH"]["units"]
    figure, axes = plt.subplots(1, 3, figsize=(16, 5.2), width_ratios=[1.1, 1, 1], layout="constrained")
    shown = np.linspace(0, len(found["components_"]) - 1, 100).round().astype(int)
    ReceptiveFieldDisplay(
        found["components_"][shown],
        image_shape=IMAGE_SHAPE[data],
        variances=found["weight_variances_"],
        dead=found["dead_"],
        pruned=found["pruned_"],
        threshold=float(found["prune_threshold_"]),
        units=shown,
    ).plot(ax=axes[0], histogram_ax=axes[1])
    spectra = {name: found[f"{name}_eigenvalues"] for name in ("raw", "pruned")}
    SpectrumDisplay.from_eigenvalues(spectra, window=measure.WINDOWS[data][0], ax=axes[2])
    return figure


def figure_a2(results, data):
    """Accuracy against critical norm; the paper's points hollow."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for attack, ax in zip(("pgd", "gaussian"), axes):
        for name in MODELS:
            point = (
                measure.median_norm(results[name]["critical"][f"{attack}_norm"]),
                float(results[name]["accuracy"]["accuracy"]),
            )
            ax.scatter(*point, s=90, color=COLORS[name], marker=MARKERS[name], label=name, zorder=3)
            if data == "cifar10":
                paper = PAPER[name][attack], PAPER[name]["accuracy"]
                ax.scatter(*paper, s=90, facecolors="none", edgecolors=COLORS[name], marker=MARKERS[name])
                ax.annotate(
                    "", paper, point, arrowprops={"arrowstyle": "-", "color": COLORS[name], "alpha": 0.4}
                )
        ax.set(xlabel=f"median critical norm, {ATTACKS[attack]}", ylabel="test accuracy")
    if data == "cifar10":
        axes[0].scatter([], [], s=90, facecolors="none", edgecolors="black", label="paper")
    axes[0].legend(frameon=False)
    return figure


def beyond1(past):
    """Boxes of the critical norms on the same rows: paper's PGD beside the worst case."""
    figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for place, name in enumerate(MODELS):
        for shift, key, alpha in ((-0.2, "pgd_norm", 0.35), (0.2, "norm", 0.9)):
            norms = past["worst"][name][key]
            norms = norms[(norms > 0) & np.isfinite(norms)]
            box = ax.boxplot(
                [norms], positions=[place + shift], widths=0.35, showfliers=False, patch_artist=True,
                medianprops={"color": "black"},
            )  # fmt: skip
            box["boxes"][0].set(facecolor=COLORS[name], alpha=alpha)
    ax.set_xticks(range(len(MODELS)), MODELS)
    ax.set(
        ylabel="critical norm (Euclidean)",
        yscale="log",
        xlabel="left: the paper's PGD; right: the worst case",
    )
    return figure


def beyond2(results, past):
    """All candidates of the search and the models chosen, with the paper's five."""
    figure, ax = plt.subplots(figsize=(8.5, 7.5), layout="constrained")
    search, palette = past["search"], plt.get_cmap("Dark2")
    for i, name in enumerate(dict.fromkeys(search["mechanism"])):
        of = search["mechanism"] == name
        chosen = past["chosen"][str(name)]
        ax.scatter(search["test_pgd"][of], search["test_accuracy"][of], s=25, color=palette(i), alpha=0.6)
        ax.scatter(
            chosen["test_pgd"], chosen["test_accuracy"], s=130, marker="*", color=palette(i),
            edgecolors="black", label=chosen["title"], zorder=3,
        )  # fmt: skip
    for name, goal in past["goals"].items():
        corner = goal["goal_norm"], goal["goal_accuracy"]
        ax.scatter(*corner, marker="+", s=120, color="black")
        ax.annotate(f"goal {name}", corner, xytext=(4, 4), textcoords="offset points", fontsize="small")
    for name in MODELS:
        point = (
            measure.median_norm(results[name]["critical"]["pgd_norm"]),
            results[name]["accuracy"]["accuracy"],
        )
        ax.scatter(*point, s=70, color="black", marker=MARKERS[name], label=name)
    ax.set(xlabel="median critical norm, the paper's PGD", ylabel="test accuracy")
    ax.set_title("stars: chosen on the validation split", fontsize="small")
    figure.legend(fontsize="small", frameon=False, loc="outside lower left")
    return figure


def beyond3(past):
    """Exponent against critical norm, with the rank correlation."""
    found = past["correlation"]
    figure, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    n = len(MODELS)
    ax.scatter(
        found["exponents"][n:], found["norms"][n:], s=25, color="#888888", label="candidates of the search"
    )
    for i, name in enumerate(MODELS):
        ax.scatter(
            found["exponents"][i],
            found["norms"][i],
            s=90,
            color=COLORS[name],
            marker=MARKERS[name],
            label=name,
        )
    ax.axvline(1, color="black", linestyle=":", linewidth=1)
    rho, p_value = found["rho"], found["p_value"]
    ax.set_title(rf"Spearman's $\rho$ = {rho:.2f}, p = {p_value:.2g}, {len(found['norms'])} models")
    ax.set(xlabel=r"exponent $\alpha$ of the spectrum", ylabel="median critical norm, PGD", yscale="log")
    ax.legend(fontsize="small", frameon=False)
    return figure
