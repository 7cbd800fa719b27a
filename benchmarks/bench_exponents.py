"""Does a spectrum near 1 help? Exponents and critical norms of many networks, and the exponent set by hand.

    python benchmarks/bench_exponents.py
    python benchmarks/bench_exponents.py --data digits
    python benchmarks/bench_exponents.py --only-table

Networks differ in mechanism, strength, width, depth and seed. Beside them, networks under the spectral
penalty alone learn towards exponents from 0.5 to 3: there the exponent is what is changed, not what comes
along. Every network is trained and measured once and kept in ``results/exponents``, so that the same command
goes on where it was interrupted. CIFAR-10 joins by the committed results of `examples/reproduce_paper.py` and
`bench_paper_variants.py`. The tables go to ``results/exponents*.md``, the picture to the documentation.
"""

import argparse
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
from _common import HERE, RESULTS, load_mnist, write_table
from scipy.stats import rankdata
from sklearn.pipeline import Pipeline

sys.path.insert(0, str(HERE.parent / "examples"))

from paper import beyond
from paper.models import TITLE, fit, load_images, scaled

from sklearn_brm import WTAEncoder, paper_recipe, pipeline_spectra
from sklearn_brm.penalties import L2, Adversarial, InputGradient, Jacobian, Spectral

FOLDER = RESULTS / "exponents"
PICTURE = HERE.parent / "docs" / "images" / "exponents.png"
N_RESAMPLES = 2000
# Test rows under PGD, and under the worst case, which is asked of the first seed alone.
N_PGD, N_WORST = 300, 60
# Of a mechanism with fewer networks no correlation inside it is taken, nor an interval over fewer mechanisms.
N_REPEATED = 4
LOCAL, TARGET = "local learning", "spectral, target"
MECHANISM_OF = {
    "KH": LOCAL,
    "BP": "no penalty",
    "L2": "L2",
    "JReg": "Jacobian, hidden",
    "SpecReg": "spectral",
}
MECHANISM_OF_FAMILY = {
    "gradient": "input gradient",
    "adversarial": "adversarial",
    "small_adversarial": "adversarial, halved images",
    "local": LOCAL,
    "mirrored_local": LOCAL,
}


@dataclass(frozen=True)
class Network:
    """What is trained: `strength` is of the penalty, the power of local learning, or a target exponent."""

    mechanism: str
    strength: float
    widths: tuple
    seed: int

    @property
    def name(self):
        """What the result is kept under."""
        widths = "x".join(map(str, self.widths))
        return f"{self.mechanism.replace(' ', '_')}-{self.strength:g}-{widths}-{self.seed}"


@dataclass(frozen=True)
class Data:
    """A data set, how its networks learn, and how their spectra are fitted.

    Attributes
    ----------
    name : str
        By which `paper.measure` knows how far perturbations may grow.
    seeds, target_seeds : range
        Of the networks of all mechanisms, and of those whose exponent is set.
    window : tuple
        First and last rank of the fits.
    """

    name: str
    title: str
    max_iter: int
    batch_size: int
    seeds: range
    target_seeds: range
    window: tuple

    def networks(self):
        """Return everything to train, the first seed first."""
        mixed = [
            Network(mechanism, strength, (width,) * depth, seed)
            for seed in self.seeds
            for mechanism, strengths in STRENGTHS.items()
            for strength, width, depth in product(strengths, WIDTHS, (1, 2))
            if depth == 1 or mechanism != LOCAL
        ]
        targets = [
            Network(TARGET, exponent, WIDTHS[-1:], seed)
            for exponent, seed in product(TARGETS, self.target_seeds)
        ]
        return sorted([*mixed, *targets], key=lambda network: network.seed)


# Of hidden layers, one or two of them.
WIDTHS = (100, 400)
TARGETS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
STRENGTHS = {
    "no penalty": (0.0,),
    "L2": (1e-4, 1e-3),
    "Jacobian, hidden": (1e-4, 1e-3),
    "Jacobian, logits": (3e-5, 2e-4),
    "input gradient": (0.003, 0.02),
    "adversarial": (0.02, 0.06),
    "spectral": (0.01, 1.0),
    LOCAL: (4.5, 8.0),
}
DATA = {
    "digits": Data(
        name="digits",
        title=TITLE["digits"],
        max_iter=60,
        batch_size=50,
        seeds=range(2),
        target_seeds=range(5),
        window=(5, 40),
    ),
    "mnist": Data(
        name="mnist",
        title="MNIST, 10,000 training images",
        max_iter=20,
        batch_size=100,
        seeds=range(1),
        target_seeds=range(3),
        window=(10, 100),
    ),
}
PENALTIES = {
    "L2": L2,
    "Jacobian, hidden": lambda alpha: Jacobian("preactivation", alpha=alpha),
    "Jacobian, logits": lambda alpha: Jacobian("logits", alpha=alpha, n_projections=1),
    "input gradient": lambda alpha: InputGradient(norm=1, alpha=alpha),
    "adversarial": Adversarial,
    "spectral": lambda alpha: Spectral("preactivation", alpha=alpha),
    TARGET: lambda exponent: Spectral("preactivation", alpha=1.0, exponent=exponent),
}


def load(name):
    """Return training and test rows, divided by their 3-norms."""
    if name == "digits":
        X, y, X_test, y_test = load_images(name)
        return (X, y), (X_test, y_test)
    parts = load_mnist("train", 10_000), load_mnist("test")
    return tuple((scaled(X), y) for X, y in parts)


def make(network, data):
    """Return the unfitted estimator."""
    common = {"batch_size": data.batch_size, "random_state": network.seed}
    if network.mechanism == LOCAL:
        (width,) = network.widths
        encoder = WTAEncoder(width, norm=3, power=network.strength, random_state=network.seed)
        head = paper_recipe("KH", max_iter=data.max_iter, standardize=True, schedule="cosine", **common)
        return Pipeline([("encode", encoder), ("classify", head)])
    penalty = PENALTIES.get(network.mechanism)
    return paper_recipe(
        "BP",
        hidden_layer_sizes=network.widths,
        penalty=penalty and penalty(network.strength),
        max_iter=data.max_iter,
        schedule="cosine",
        **common,
    )


def measured(network, data, train, test):
    """Return what a trained network is: accuracy, exponents of all layers, median critical norms."""
    start = time.perf_counter()
    model = fit(make(network, data), *train)
    seconds = time.perf_counter() - start
    X, y = test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        layers = pipeline_spectra(model, X, window=data.window, white_noise=False)
    exponents = [
        float(exponent)
        for layer, exponent in zip(layers["layer"], layers["exponent"])
        if layer.startswith("pre-activation")
    ]
    found = asdict(network) | {"accuracy": float(model.score(X, y)), "exponents": exponents}
    attacks = {"pgd": N_PGD} | ({"worst_case": N_WORST} if network.seed == 0 else {})
    for attack, n_rows in attacks.items():
        found[attack] = beyond.critical_norm(model, X, y, data=data.name, attack=attack, n_rows=n_rows)
    return found | {"seconds": seconds}


def run(name):
    """Train and measure what is not there yet."""
    data, splits = DATA[name], load(name)
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = results(name)
    done = {each["name"] for each in found}
    for network in data.networks():
        if network.name in done:
            continue
        found.append({"name": network.name} | measured(network, data, *splits))
        print(found[-1], flush=True)
        lines = ",\n".join(map(json.dumps, found))
        part = path_of(name).with_suffix(".part")
        part.write_text(f"[\n{lines}\n]\n")
        part.replace(path_of(name))


def path_of(name):
    """Return where the results of a data set are kept."""
    return FOLDER / f"{name}.json"


def results(name):
    """Return the dicts of the networks that are there."""
    path = path_of(name)
    return json.loads(path.read_text()) if path.exists() else []


def published():
    """Return the networks on CIFAR-10 that other scripts have trained, in the form of `results`."""
    folder = RESULTS / "paper_cifar10"
    known = json.loads((folder / "results.json").read_text())
    trained = [known["models"][model] | {"model": model} for model in MECHANISM_OF]
    trained += [json.loads(path.read_text()) for path in sorted((folder / "variants").glob("*.json"))]
    found = [each | {"mechanism": MECHANISM_OF[each["model"]]} for each in trained]
    search = known["past"]["search"]
    candidates = [dict(zip(search, values)) for values in zip(*search.values())]
    found += [
        each
        | {
            "mechanism": MECHANISM_OF_FAMILY[each["mechanism"]],
            "accuracy": each["test_accuracy"],
            "pgd": each["test_pgd"],
        }
        for each in candidates
    ]
    return [each | {"exponents": [each["exponent"]]} for each in found]


def spearman(x, y, given=None):
    """Return the rank correlation of two arrays, with the ranks of a third held fixed."""
    x, y = rankdata(x), rankdata(y)
    fixed = np.ones((len(x), 1)) if given is None else np.stack([np.ones(len(x)), rankdata(given)], axis=1)
    x, y = (each - fixed @ np.linalg.lstsq(fixed, each)[0] for each in (x, y))
    scale = np.sqrt((x @ x) * (y @ y))
    return x @ y / scale if scale > 1e-9 else np.nan


def across(groups, given):
    """Return the rank correlation over the networks of all groups."""
    x, y, accuracy = np.concatenate(groups, axis=1)
    return spearman(x, y, accuracy if given else None)


def inside(groups, given):
    """Return the mean over groups of the rank correlation in each, weighted by their networks."""
    found = [spearman(x, y, accuracy if given else None) for x, y, accuracy in groups]
    sizes = [group.shape[1] for group in groups]
    known = np.isfinite(found)
    return np.average(np.array(found)[known], weights=np.array(sizes)[known]) if known.any() else np.nan


def with_interval(statistic, groups, given):
    """Write a statistic with its 95% interval over samples of the groups, which are the mechanisms.

    Few groups have no interval worth the name.
    """
    value = f"{statistic(groups, given):+.2f}" if groups else ""
    if len(groups) < N_REPEATED:
        return value
    random = np.random.default_rng(0)
    draws = random.integers(len(groups), size=(N_RESAMPLES, len(groups)))
    values = [statistic([groups[i] for i in draw], given) for draw in draws]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return f"{value} ({low:+.2f} to {high:+.2f})"


def correlations_table(found, targets):
    """Write how exponents and critical norms go together in `found`; `targets` are asked for notes alone."""
    rows = []
    for title, networks in found.items():
        groups = [columns(group) for group in grouped(networks, "mechanism").values()]
        repeated = [group for group in groups if group.shape[1] >= N_REPEATED]
        exponents = np.concatenate(groups, axis=1)[0]
        rows.append(
            [
                title,
                f"{len(exponents)} / {len(groups)}",
                f"{exponents.min():.2f} to {exponents.max():.2f}",
                *(with_interval(across, groups, given) for given in (False, True)),
                len(repeated),
                *(with_interval(inside, repeated, given) for given in (False, True)),
            ]
        )
    header = ["data", "networks / mechanisms", "exponents", "across", "across, accuracy fixed"]
    header += ["repeated", "inside mechanisms", "inside, accuracy fixed"]
    everything = [each for group in (*found.values(), *targets.values()) for each in group]
    worst = [each for each in everything if "worst_case" in each]
    notes = [
        "Spearman's correlation with the median critical norm under PGD. The exponent is that of the",
        "first hidden layer's pre-activations on test images. *Accuracy fixed*: partial correlation, given",
        "ranks of test accuracy. *Inside*: the mean over mechanisms of the correlation among the networks of",
        f"one, where there are {N_REPEATED} or more (*repeated* says for how many). In brackets the 95%",
        f"interval over {N_RESAMPLES} bootstrap samples of mechanisms, of which there must be {N_REPEATED}.",
    ]
    if columns(everything)[0].min() > 1:
        notes.append("All exponents are above 1: a larger one is farther from 1.")
    if worst:
        agreement = spearman([each["pgd"] for each in worst], [each["worst_case"] for each in worst])
        notes.append(
            f"Under the worst case, asked of {len(worst)} networks, the order of norms is the same to a "
            f"correlation of {agreement:.3f}."
        )
    write_table("exponents", "Exponents and critical norms", header, rows, notes=notes)


def targets_table(found):
    """Write what networks are whose exponent is set."""
    rows = []
    for title, networks in found.items():
        for target, same in grouped(networks, "strength").items():
            exponent, norm, accuracy = map(spread, columns(same))
            rows.append([title, target, len(same), exponent, accuracy, norm])
    header = ["data", "target exponent", "seeds", "exponent reached", "test accuracy", "critical norm, PGD"]
    notes = ["Mean and standard deviation over seeds. The penalty is the spectral one of strength 1."]
    write_table("exponents_set", "What a set exponent does", header, rows, notes=notes)


def columns(networks):
    """Return exponents, critical norms and accuracies, shape (3, n_networks)."""
    return np.array([[each["exponents"][0], each["pgd"], each["accuracy"]] for each in networks]).T


def grouped(networks, key):
    """Return the networks of each mechanism, or those of each target exponent by "strength"."""
    groups = {}
    for each in networks:
        groups.setdefault(each[key], []).append(each)
    return groups


def spread(values):
    """Write mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def picture(found, targets):
    """Draw every network, by mechanism, and a line through those whose exponent is set."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(found), figsize=(5 * len(found), 4.5), squeeze=False, layout="constrained"
    )
    names = dict.fromkeys(each["mechanism"] for networks in found.values() for each in networks)
    colours = dict(zip(names, plt.get_cmap("tab10").colors))
    for ax, (title, networks) in zip(axes[0], found.items()):
        for name, group in grouped(networks, "mechanism").items():
            ax.scatter(*columns(group)[:2], color=colours[name], s=22, label=name)
        if targets.get(title):
            points = [columns(same)[:2].mean(axis=1) for same in grouped(targets[title], "strength").values()]
            ax.plot(*zip(*points), color="black", marker="o", mfc="none", label="exponent set from 0.5 to 3")
        ax.axvline(1, color="grey", linestyle=":")
        ax.set(title=title, xlabel="exponent of the first hidden layer", ylabel="median critical norm, PGD")
        ax.set_ylim(bottom=0)
    handles = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(PICTURE, dpi=80)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--only-table", action="store_true", help="write the tables of what is there")
    options = parser.parse_args()
    for name in () if options.only_table else options.data:
        run(name)
    found = {data.title: results(name) for name, data in DATA.items()} | {TITLE["cifar10"]: published()}
    mixed = {title: [each for each in all_ if each["mechanism"] != TARGET] for title, all_ in found.items()}
    mixed = {title: networks for title, networks in mixed.items() if networks}
    targets = {title: [each for each in all_ if each["mechanism"] == TARGET] for title, all_ in found.items()}
    correlations_table(mixed, targets)
    targets_table(targets)
    picture(mixed, targets)


if __name__ == "__main__":
    main()
