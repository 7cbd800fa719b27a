"""Strength and speed of the attacks against foolbox and the Adversarial Robustness Toolbox, in one process.

Sections, by command line: `pgd` (CIFAR-10 and MNIST networks), `worst_case` (five models, `--data mnist`
or `cifar10`), `critical` (bisection against the grid of the paper), `curve` (20 radii against one), `trees`
(black box against HopSkipJump, for at most `--budget` seconds per line), `search` (cost inside a grid
search), `memory` (peak resident memory, each line in a process of its own). The toolbox's AutoAttack also
needs the package `multiprocess`. Without the image archives digits take their place.
"""

import argparse
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from _common import have_images, load_cifar10, load_mnist, median_times, write_table
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    ThreatModel,
    WTAEncoder,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
    to_torch,
)

BOUNDS = (0.0, 1.0)
# Radii by data, norm and model, chosen so that a good part of the rows stands at each.
EPS_OF = {
    "mnist": {
        np.inf: {
            "linear": (0.02, 0.05),
            "BP": (0.02, 0.05),
            "L2": (0.05, 0.1),
            "KH": (0.02, 0.05),
            "SVC": (0.01, 0.02),
        },
        2: {"linear": (0.3, 0.8), "BP": (0.5, 1.0), "L2": (1.0, 2.0), "KH": (0.5, 1.0), "SVC": (0.2, 0.5)},
    },
    "cifar10": {
        np.inf: dict.fromkeys(("linear", "BP", "L2", "KH", "SVC"), (0.005, 0.01)),
        2: dict.fromkeys(("linear", "BP", "L2", "KH", "SVC"), (0.1, 0.25)),
    },
}
STEPS = 20
# What keeps `worst_case` with 200 rows within minutes; AutoAttack's own values are larger.
NEIGHBOUR_STEPS, DEEPFOOL_STEPS, SQUARE_QUERIES, N_SVC = 50, 20, 1000, 1000


class Module(torch.nn.Module):
    """A converted estimator as the neighbours want it; its weights are constants."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Return the decision scores of rows."""
        return self.function(x)


class ToRows(torch.nn.Module):
    """Images with colours first as rows with colours last."""

    def forward(self, x):
        """Return one row per image."""
        return x.permute(0, 2, 3, 1).flatten(1)


def images(name, n_train, n_test):
    """Training and test rows in [0, 1]."""
    if name == "digits" or not have_images():
        X, y = load_digits(return_X_y=True)
        rows = train_test_split((X / 16).astype(np.float32), y, test_size=500, random_state=0)
        return rows[0], rows[2], rows[1][:n_test], rows[3][:n_test]
    load = {"cifar10": load_cifar10, "mnist": load_mnist}[name]
    return *load("train", n_train), *load("test", n_test)


def network(X, y, *, n_hidden, max_iter, **kwargs):
    return RegularizedClassifier((n_hidden,), max_iter=max_iter, random_state=0, **kwargs).fit(X, y)


def as_torch_module(model):
    """The same network as users of the neighbours have it: its weights are parameters with gradients."""
    layers = []
    for W, b in zip(model.coefs_, model.intercepts_):
        layer = torch.nn.Linear(*W.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(W.T.copy()).float(), torch.from_numpy(b).float()
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def right_rows(model, X, y):
    right = model.predict(X) == y
    return X[right], y[right]


def foolbox_pgd(module, X, y, eps, norm):
    import foolbox

    kind = foolbox.attacks.LinfPGD if norm == np.inf else foolbox.attacks.L2PGD
    attack = kind(steps=STEPS, rel_stepsize=2.5 / STEPS, random_start=False)
    target = foolbox.PyTorchModel(module.eval(), bounds=BOUNDS, device="cpu")
    _, found, _ = attack(target, torch.from_numpy(X), torch.from_numpy(y), epsilons=eps)
    return found.numpy()


def art_classifier(module, X, n_classes):
    from art.estimators.classification import PyTorchClassifier

    loss = torch.nn.CrossEntropyLoss()
    return PyTorchClassifier(module, loss, X.shape[1:], n_classes, clip_values=BOUNDS, device_type="cpu")


def art_pgd(module, X, y, eps, norm, n_classes, batch_size, n_steps=STEPS):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    attack = ProjectedGradientDescentPyTorch(
        art_classifier(module, X, n_classes),
        norm=norm,
        eps=eps,
        eps_step=2.5 * eps / n_steps,
        max_iter=n_steps,
        batch_size=batch_size,
        verbose=False,
    )
    return attack.generate(X, y)


def accuracy(model, X, y):
    return float(np.mean(model.predict(X) == y))


def pgd_contestants(model, X, y, eps, norm):
    """Three functions that return adversarial rows."""
    frozen, n_classes = Module(to_torch(model, dtype=torch.float32)), len(model.classes_)
    module = as_torch_module(model)
    options = {"attack": "pgd", "eps": eps, "threat": ThreatModel(norm, bounds=BOUNDS), "n_steps": STEPS}
    return {
        "ours": lambda: adversarial_examples(model, X, y, random_state=0, **options).X,
        "foolbox": lambda: foolbox_pgd(module, X, y, eps, norm),
        "ART": lambda: art_pgd(module, X, y, eps, norm, n_classes, 1024),
        "foolbox, constant weights": lambda: foolbox_pgd(frozen, X, y, eps, norm),
    }


def pgd(n_test, n_train, max_iter):
    rows = []
    settings = {"cifar10": ((np.inf, 0.01), (2, 0.25)), "mnist": ((np.inf, 0.05), (2, 1.0))}
    for name, threats in settings.items():
        Xa, ya, X, y = images(name, n_train, n_test)
        model = network(Xa, ya, n_hidden=2000, max_iter=max_iter)
        X, y = right_rows(model, X, y)
        for norm, eps in threats:
            contestants = pgd_contestants(model, X, y, eps, norm)
            left = {who: accuracy(model, attack(), y) for who, attack in contestants.items()}
            seconds = median_times(contestants, n_rounds=3, warm_up=0)
            fastest = min(seconds["foolbox"], seconds["ART"])
            for who, spent in seconds.items():
                score, pace = f"{left[who]:.4f}", f"{fastest / spent:.2f}"
                rows.append([name, norm, eps, len(X), who, score, f"{spent:.2f}", pace])
    header = [
        "data",
        "norm",
        "eps",
        "rows",
        "attack",
        "accuracy left",
        "seconds",
        "times the faster neighbour",
    ]
    notes = [
        f"PGD, {STEPS} steps of 2.5 eps / {STEPS}, from the clean row; 3072-2000-10 and 784-2000-10 nets.",
        "Ours includes checking the conversion and testing every row with `predict`. The neighbours attack a",
        "plain `torch.nn.Sequential`; the last line of each block gives foolbox a module whose weights are",
        "constants, which saves it their gradients.",
    ]
    write_table("attacks_pgd", "PGD against foolbox and ART", header, rows, notes=notes)


def five_models(Xa, ya, max_iter):
    """Yield five kinds of model by name, each fitted when its turn comes."""
    encoder = WTAEncoder(500, norm=3.0, rank=2, max_iter=max_iter, random_state=0)
    models = {
        "linear": LogisticRegression(max_iter=200),
        "BP": RegularizedClassifier((500,), max_iter=max_iter, random_state=0),
        "L2": RegularizedClassifier((500,), penalty="l2", alpha=5e-4, max_iter=max_iter, random_state=0),
        "KH": make_pipeline(encoder, RegularizedClassifier((), max_iter=max_iter, random_state=0)),
        "SVC": make_pipeline(StandardScaler(), SVC()),
    }
    for name, model in models.items():
        n = N_SVC if name == "SVC" else len(Xa)
        yield name, model.fit(Xa[:n], ya[:n])


def neighbours(module, X, y, eps, norm, n_classes):
    """Adversarial rows of every neighbour's attack at one eps, by name."""
    import foolbox

    kind = foolbox.attacks.LinfPGD if norm == np.inf else foolbox.attacks.L2PGD
    target = foolbox.PyTorchModel(module.eval(), bounds=BOUNDS, device="cpu")
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    yield "foolbox PGD", kind(steps=NEIGHBOUR_STEPS)(target, inputs, labels, epsilons=eps)[1].numpy()
    yield "ART PGD", art_pgd(module, X, y, eps, norm, n_classes, 200, n_steps=NEIGHBOUR_STEPS)
    # Its Square attack wants images, colours first.
    shape = (32, 32, 3) if X.shape[1] == 3072 else (*[int(X.shape[1] ** 0.5)] * 2, 1)
    pictures = np.ascontiguousarray(X.reshape(-1, *shape).transpose(0, 3, 1, 2))
    classifier = art_classifier(torch.nn.Sequential(ToRows(), module), pictures, n_classes)
    found = auto_attack(classifier, eps, norm).generate(pictures, y)
    yield "ART AutoAttack", found.transpose(0, 2, 3, 1).reshape(X.shape)


def auto_attack(classifier, eps, norm):
    """The toolbox's AutoAttack with the efforts named at the top of this file."""
    from art.attacks import evasion

    common = {"norm": norm, "eps": eps, "batch_size": 200, "verbose": False}
    climb = {**common, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 1}
    attacks = [
        evasion.AutoProjectedGradientDescent(classifier, loss_type="cross_entropy", **climb),
        evasion.AutoProjectedGradientDescent(classifier, loss_type="difference_logits_ratio", **climb),
        evasion.DeepFool(classifier, max_iter=DEEPFOOL_STEPS, epsilon=1e-3, batch_size=200, verbose=False),
        evasion.SquareAttack(classifier, max_iter=SQUARE_QUERIES, nb_restarts=1, **common),
    ]
    return evasion.AutoAttack(classifier, norm, eps, 2 * eps, attacks=attacks, batch_size=200)


def held_to_the_ball(found, X, eps, norm):
    """The neighbours' rows are held to the same ball and bounds as ours."""
    delta = found - X
    if norm == np.inf:
        delta = np.clip(delta, -eps, eps)
    else:
        delta *= np.minimum(1, eps / np.maximum(np.linalg.norm(delta, axis=1, keepdims=True), 1e-30))
    return np.clip(X + delta, *BOUNDS).astype(X.dtype)


def worst_case_line(name, model, X, y, norm, eps):
    """Ours and the strongest neighbour on one model at one radius, as a line of the table."""
    module, n_classes = Module(to_torch(model, dtype=torch.float32)), len(model.classes_)
    start = time.perf_counter()
    ours = adversarial_examples(
        model, X, y, eps=eps, threat=ThreatModel(norm=norm, bounds=BOUNDS), random_state=0
    )
    seconds = time.perf_counter() - start
    right, left, start = model.predict(X) == y, {}, time.perf_counter()
    for attack, found in neighbours(module, X, y, eps, norm, n_classes):
        left[attack] = np.mean(right & (model.predict(held_to_the_ball(found, X, eps, norm)) == y))
    theirs = time.perf_counter() - start
    which = min(left, key=left.get)
    difference = ours.robust_accuracy - left[which]
    scores = [f"{score:.4f}" for score in (ours.clean_accuracy, ours.robust_accuracy, left[which])]
    return [name, norm, eps, *scores, which, f"{difference:+.4f}", f"{seconds:.1f}", f"{theirs:.1f}"]


def worst_case(n_test, n_train, max_iter, data):
    header = ["model", "norm", "eps", "clean", "worst_case", "lowest neighbour", "which", "difference"]
    header += ["s ours", "s theirs"]
    Xa, ya, X, y = images(data, n_train, n_test)
    notes = [
        f"{len(X)} rows. Criterion: difference at most 0.005. Ours at its defaults. The neighbours:",
        f"foolbox's and ART's PGD with {NEIGHBOUR_STEPS} steps; ART's AutoAttack with one start of 100",
        f"steps per loss instead of five, DeepFool with {DEEPFOOL_STEPS} steps and Square with",
        f"{SQUARE_QUERIES} queries once instead of 5,000 five times.",
        f"KH has power 4.5; SVC is a StandardScaler and an RBF kernel, fitted on {N_SVC} rows.",
    ]
    rows = []
    for name, model in five_models(Xa, ya, max_iter):
        for norm, radii in EPS_OF[data].items():
            for eps in radii[name]:
                rows.append(worst_case_line(name, model, X, y, norm, eps))
                print(*rows[-1], flush=True)
        shown = data if have_images() else "digits"
        title = f"worst_case against every attack of the neighbours, {shown}"
        write_table(f"attacks_worst_case_{shown}", title, header, rows, notes=notes)


def critical(n_test, n_train, max_iter):
    Xa, ya, X, y = images("cifar10", n_train, None)
    model = network(Xa, ya, n_hidden=2000, max_iter=max_iter)
    X, y = (part[:n_test] for part in right_rows(model, X, y))
    if len(X) < n_test:
        raise SystemExit(f"Only {len(X)} rows are right when clean, fewer than --n-test={n_test}.")
    found, seconds = {}, {}
    threat = ThreatModel(bounds=BOUNDS)
    options = {"attack": "pgd", "threat": threat, "n_steps": STEPS, "random_state": 0}
    for method in ("bisect", "grid"):
        start = time.perf_counter()
        found[method] = critical_perturbations(model, X, y, method=method, max_eps=10**-1.5, **options)
        seconds[method] = time.perf_counter() - start
    rows = [
        [
            method,
            len(X),
            f"{np.median(found[method].radius):.5f}",
            f"{np.median(found[method].l2_norm):.4f}",
            f"{seconds[method]:.1f}",
            f"{seconds['grid'] / seconds[method]:.1f}",
        ]
        for method in found
    ]
    header = ["method", "rows", "median radius, L-inf", "median norm, L2", "seconds", "times the grid"]
    write_table("attacks_critical", "Critical perturbations: bisection and the paper's grid", header, rows)


def curve(n_test, n_train, max_iter):
    Xa, ya, X, y = images("cifar10", n_train, n_test)
    model = network(Xa, ya, n_hidden=2000, max_iter=max_iter)
    one = {"attack": "worst_case", "threat": ThreatModel(bounds=BOUNDS), "random_state": 0}
    found = critical_perturbations(
        model, X, y, attack="pgd", threat=ThreatModel(bounds=BOUNDS), max_eps=0.1, random_state=0
    )
    middle = float(np.median(found.radius[found.radius > 0]))
    eps = np.geomspace(middle / 10, middle * 10, 20)
    contestants = {
        "one eps": lambda: adversarial_examples(model, X, y, eps=middle, **one),
        "20 eps": lambda: robustness_curve(model, X, y, eps=eps, **one),
    }
    times = median_times(contestants, n_rounds=1, warm_up=0)
    rows = [[name, f"{value:.2f}", f"{value / times['one eps']:.2f}"] for name, value in times.items()]
    header = ["what", "seconds", "times one eps"]
    write_table("attacks_curve", "A curve of 20 eps against one attack at the median radius", header, rows)


def jump(classifier, Z, norm, budget):
    """HopSkipJump at its defaults on one row after the other, until `budget` seconds are spent."""
    from art.attacks.evasion import HopSkipJump

    jumped, start = [], time.perf_counter()
    for row in Z.astype(np.float32):
        jumped.append(HopSkipJump(classifier, norm=norm, verbose=False).generate(row[None])[0])
        spent = time.perf_counter() - start
        if len(jumped) == 1:
            print(f"HopSkipJump: {spent:.1f} s a row, about {spent * len(Z):.0f} s for {len(Z)}", flush=True)
        if spent > budget:
            break
    return np.array(jumped), spent / len(jumped)


def trees(n_test, n_rows_neighbour, budget):
    from art.estimators.classification import BlackBoxClassifier

    X, y = load_breast_cancer(return_X_y=True)
    Xa, X, ya, y = train_test_split(X, y, test_size=n_test, random_state=0)
    spread, rows = Xa.std(axis=0), []
    estimators = (RandomForestClassifier(random_state=0), HistGradientBoostingClassifier(random_state=0))
    for model in estimators:
        model.fit(Xa, ya)
        Z = X / spread

        def answers(rows, model=model):
            return np.eye(2, dtype=np.float32)[model.predict(rows.astype(float) * spread)]

        limits = (float((Xa / spread).min()), float((Xa / spread).max()))
        classifier = BlackBoxClassifier(answers, X.shape[1:], 2, clip_values=limits)
        right = np.flatnonzero(model.predict(X) == y)[:n_rows_neighbour]
        for norm, eps in ((np.inf, 0.4), (2, 1.0)):
            jumped, theirs = jump(classifier, Z[right], norm, budget)
            run = right[: len(jumped)]
            near = np.linalg.norm(jumped - Z[run], ord=norm, axis=1) <= eps
            broken = near & (model.predict(jumped.astype(float) * spread) != y[run])
            start = time.perf_counter()
            ours = adversarial_examples(
                model,
                X,
                y,
                eps=eps,
                threat=ThreatModel(norm=norm, scale="std", reference_X=Xa),
                random_state=0,
            )
            seconds = (time.perf_counter() - start) / len(X)
            success = [f"{share:.3f}" for share in (np.mean(ours.outcome[run] == "broken"), np.mean(broken))]
            pace = [f"{1e3 * seconds:.1f}", f"{1e3 * theirs:.1f}", f"{theirs / seconds:.0f}"]
            rows.append([type(model).__name__, norm, eps, len(run), *success, *pace])
            print(*rows[-1], flush=True)
        write_tree_table(rows, n_test)


def write_tree_table(rows, n_test):
    header = ["model", "norm", "eps", "rows of HSJ", "success ours", "success HSJ"]
    header += ["ms/row ours", "ms/row HSJ", "times faster"]
    notes = [
        f"Ours on {n_test} rows; HopSkipJump at its defaults on the first that are right, as many as its",
        "budget of seconds allowed; success is compared on those. eps in standard deviations.",
    ]
    write_table("attacks_trees", "Black box on trees against HopSkipJump", header, rows, notes=notes)


def search():
    X, y = load_digits(return_X_y=True)
    Xa, X, ya, y = train_test_split(X, y, random_state=0)
    model = make_pipeline(
        FunctionTransformer(), WTAEncoder(200, random_state=0), RegularizedClassifier((), random_state=0)
    )
    scorer = AdversarialScorer(eps=1.0, threat=ThreatModel(bounds=(0, 16)), max_samples=200, random_state=0)
    model.fit(Xa, ya)
    times = median_times({"fit": lambda: model.fit(Xa, ya), "score": lambda: scorer(model, X, y)}, n_rounds=3)
    rows = [[name, f"{value:.2f}", f"{value / times['fit']:.2f}"] for name, value in times.items()]
    title = "Cost of the scorer beside the fit it scores: digits, max_samples=200"
    write_table("attacks_search", title, ["what", "seconds", "times the fit"], rows)


def memory():
    rows = []
    for batch_size in (128, 1024):
        for n in (1000, 4000):
            for n_eps in (1, 20):
                command = [sys.executable, __file__, "probe", *map(str, ("--probe", n, n_eps, batch_size))]
                found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                rows.append([batch_size, n, n_eps, *found])
                print(*rows[-1], flush=True)
        header = ["batch_size", "rows", "eps", "MiB before", "peak MiB", "MiB of attack"]
        notes = [
            "Peak resident memory of a fresh process, NumPy and torch together; a 784-500-10 network. The",
            "rows themselves take 3 MiB per 1,000, and the attack keeps a few copies of them.",
        ]
        title = "Peak memory of worst_case: bounded by batch_size, not by rows x eps"
        write_table("attacks_memory", title, header, rows, notes=notes)


def probe(n, n_eps, batch_size):
    """Print the peak resident MiB before the attack, after it, and the difference."""
    random = np.random.default_rng(0)
    X, y = random.random((n, 784), dtype=np.float32), np.arange(n) % 10
    model = RegularizedClassifier((500,), max_iter=1, batch_size=100, random_state=0).fit(X[:500], y[:500])
    options = {"n_steps": 5, "max_queries": 20, "batch_size": batch_size, "random_state": 0}
    options["threat"] = ThreatModel(bounds=BOUNDS)
    adversarial_examples(model, X[:10], y[:10], eps=1e-3, **options)
    y = model.predict(X)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if n_eps == 1:
        adversarial_examples(model, X, y, eps=1e-3, **options)
    else:
        robustness_curve(model, X, y, eps=np.geomspace(1e-4, 1e-2, n_eps), **options)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{before:.0f} {after:.0f} {after - before:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    sections = ["pgd", "worst_case", "critical", "curve", "trees", "search", "memory", "probe"]
    parser.add_argument("section", choices=sections)
    parser.add_argument("--n-test", type=int, default=1000)
    parser.add_argument("--n-train", type=int, default=10000)
    parser.add_argument("--max-iter", type=int, default=20)
    parser.add_argument("--data", choices=list(EPS_OF), default="mnist")
    parser.add_argument("--n-neighbour", type=int, default=10)
    parser.add_argument("--budget", type=float, default=np.inf, help="seconds of HopSkipJump per line")
    parser.add_argument("--probe", type=int, nargs=3, help="rows, eps and batch_size; used by memory")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    size = (options.n_test, options.n_train, options.max_iter)
    sections = {
        "pgd": lambda: pgd(*size),
        "worst_case": lambda: worst_case(*size, options.data),
        "critical": lambda: critical(*size),
        "curve": lambda: curve(*size),
        "trees": lambda: trees(options.n_test, options.n_neighbour, options.budget),
        "search": search,
        "memory": memory,
        "probe": lambda: probe(*options.probe),
    }
    sections[options.section]()


if __name__ == "__main__":
    main()
