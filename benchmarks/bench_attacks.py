"""Strength and speed of the attacks against foolbox and the Adversarial Robustness Toolbox, in one process.

Sections, by command line: `pgd` (CIFAR-10 and MNIST networks), `worst_case` (five models), `critical`
(bisection against the grid of the paper), `curve` (20 radii against one), `trees` (black box against
HopSkipJump), `search` (cost inside a grid search). The toolbox's AutoAttack also needs the package
`multiprocess`. Without the image archives the first three use digits.
"""

import argparse
import time
import tracemalloc
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
    WTAEncoder,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
    to_torch,
)

BOUNDS = (0.0, 1.0)
EPS_OF = {
    "linear": (0.02, 0.05),
    "BP": (0.02, 0.05),
    "L2": (0.05, 0.1),
    "KH, power 4.5": (0.02, 0.05),
    "RBF SVC": (0.02, 0.05),
}
STEPS = 20


class Module(torch.nn.Module):
    """A converted estimator as the neighbours want it; its weights are constants."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Return the decision scores of rows."""
        return self.function(x)


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


def art_pgd(module, X, y, eps, norm, n_classes, batch_size):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    attack = ProjectedGradientDescentPyTorch(
        art_classifier(module, X, n_classes),
        norm=norm,
        eps=eps,
        eps_step=2.5 * eps / STEPS,
        max_iter=STEPS,
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
    options = {"attack": "pgd", "eps": eps, "norm": norm, "bounds": BOUNDS, "n_steps": STEPS}
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


def five_models(n_train, max_iter):
    """Linear, BP, L2, KH with power 4.5 and an RBF support vector machine, on the same rows."""
    Xa, ya, X, y = images("mnist", n_train, 400)
    encoder = WTAEncoder(500, norm=3.0, rank=2, max_iter=max_iter, random_state=0)
    models = {
        "linear": LogisticRegression(max_iter=200),
        "BP": RegularizedClassifier((500,), max_iter=max_iter, random_state=0),
        "L2": RegularizedClassifier((500,), penalty="l2", alpha=5e-4, max_iter=max_iter, random_state=0),
        "KH, power 4.5": make_pipeline(encoder, RegularizedClassifier((), max_iter=max_iter, random_state=0)),
        "RBF SVC": make_pipeline(StandardScaler(), SVC()),
    }
    for name, model in models.items():
        n = 3000 if name == "RBF SVC" else len(Xa)
        models[name] = model.fit(Xa[:n], ya[:n])
    return models, X, y


def neighbours(module, X, y, eps, n_classes):
    """Adversarial rows of every neighbour's attack at one eps, by name."""
    import foolbox

    target = foolbox.PyTorchModel(module.eval(), bounds=BOUNDS, device="cpu")
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    for attack in (
        foolbox.attacks.LinfFastGradientAttack(),
        foolbox.attacks.LinfPGD(steps=100),
        foolbox.attacks.LinfDeepFoolAttack(),
        foolbox.attacks.LinfMomentumIterativeFastGradientMethod(steps=100),
    ):
        yield type(attack).__name__, attack(target, inputs, labels, epsilons=eps)[1].numpy()
    # Its Square attack wants images.
    side = int(X.shape[1] ** 0.5)
    pictures = X.reshape(-1, 1, side, side)
    classifier = art_classifier(torch.nn.Sequential(torch.nn.Flatten(), module), pictures, n_classes)
    yield "AutoAttack", auto_attack(classifier, eps).generate(pictures, y).reshape(X.shape)


def auto_attack(classifier, eps):
    """The toolbox's AutoAttack as it is, except for Square: 2,000 queries once, not 5,000 five times."""
    from art.attacks import evasion

    common = {"norm": np.inf, "eps": eps, "batch_size": 200, "verbose": False}
    climb = {**common, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 5}
    attacks = [
        evasion.AutoProjectedGradientDescent(classifier, loss_type="cross_entropy", **climb),
        evasion.AutoProjectedGradientDescent(classifier, loss_type="difference_logits_ratio", **climb),
        evasion.DeepFool(classifier, max_iter=100, epsilon=1e-3, batch_size=200, verbose=False),
        evasion.SquareAttack(classifier, max_iter=2000, nb_restarts=1, **common),
    ]
    return evasion.AutoAttack(classifier, np.inf, eps, 2 * eps, attacks=attacks, batch_size=200)


def worst_case(n_test, n_train, max_iter):
    rows = []
    models, X, y = five_models(n_train, max_iter)
    X, y = X[:n_test], y[:n_test]
    for name, model in models.items():
        module, n_classes = Module(to_torch(model, dtype=torch.float32)), len(model.classes_)
        for eps in EPS_OF[name]:
            start = time.perf_counter()
            ours = adversarial_examples(model, X, y, eps=eps, bounds=BOUNDS, random_state=0)
            seconds = time.perf_counter() - start
            lowest, start = (1.0, ""), time.perf_counter()
            for attack, found in neighbours(module, X, y, eps, n_classes):
                # The neighbours' rows are held to the same ball, bounds and judge as ours.
                found = np.clip(np.clip(found, X - np.float32(eps), X + np.float32(eps)), *BOUNDS)
                standing = (model.predict(found) == y) & (model.predict(X) == y)
                lowest = min(lowest, (float(np.mean(standing)), attack))
            theirs = time.perf_counter() - start
            rows.append(
                [
                    name,
                    eps,
                    f"{ours.clean_accuracy:.4f}",
                    f"{ours.robust_accuracy:.4f}",
                    f"{lowest[0]:.4f}",
                    lowest[1],
                    f"{ours.robust_accuracy - lowest[0]:+.4f}",
                    f"{seconds:.1f}",
                    f"{theirs:.1f}",
                ]
            )
    header = [
        "model",
        "eps",
        "clean",
        "worst_case",
        "lowest neighbour",
        "which",
        "difference",
        "s ours",
        "s theirs",
    ]
    title = f"worst_case against every attack of the neighbours, L-inf, {n_test} MNIST rows"
    notes = ["AutoAttack is ART's, with Square's budget cut from five times 5,000 queries to 2,000."]
    write_table("attacks_worst_case", title, header, rows, notes=notes)


def critical(n_test, n_train, max_iter):
    Xa, ya, X, y = images("cifar10", n_train, 2 * n_test)
    model = network(Xa, ya, n_hidden=2000, max_iter=max_iter)
    X, y = right_rows(model, X, y)
    X, y = X[:n_test], y[:n_test]
    found, seconds = {}, {}
    options = {"attack": "pgd", "bounds": BOUNDS, "n_steps": STEPS, "random_state": 0}
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
    one = {"attack": "worst_case", "bounds": BOUNDS, "random_state": 0}
    found = critical_perturbations(model, X, y, attack="pgd", bounds=BOUNDS, max_eps=0.1, random_state=0)
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


def trees(n_test, n_rows_neighbour):
    from art.attacks.evasion import HopSkipJump
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
            start = time.perf_counter()
            jumped = HopSkipJump(classifier, norm=norm, verbose=False).generate(Z[right].astype(np.float32))
            theirs = (time.perf_counter() - start) / len(right)
            near = np.linalg.norm(jumped - Z[right], ord=norm, axis=1) <= eps
            broken = near & (model.predict(jumped.astype(float) * spread) != y[right])
            start = time.perf_counter()
            ours = adversarial_examples(
                model, X, y, eps=eps, norm=norm, scale="std", reference_X=Xa, random_state=0
            )
            seconds = (time.perf_counter() - start) / len(X)
            share = np.mean(ours.outcome[right] == "broken")
            rows.append(
                [
                    type(model).__name__,
                    norm,
                    eps,
                    f"{share:.3f}",
                    f"{np.mean(broken):.3f}",
                    f"{1e3 * seconds:.1f}",
                    f"{1e3 * theirs:.1f}",
                    f"{theirs / seconds:.0f}",
                ]
            )
    header = [
        "model",
        "norm",
        "eps",
        "success ours",
        "success HSJ",
        "ms/row ours",
        "ms/row HSJ",
        "times faster",
    ]
    note = (
        f"Ours on {n_test} rows, HopSkipJump at its defaults on the first {n_rows_neighbour} that are right; "
    )
    notes = [note + "success is compared on those. eps in standard deviations."]
    write_table("attacks_trees", "Black box on trees against HopSkipJump", header, rows, notes=notes)


def search():
    X, y = load_digits(return_X_y=True)
    Xa, X, ya, y = train_test_split(X, y, random_state=0)
    model = make_pipeline(
        FunctionTransformer(), WTAEncoder(200, random_state=0), RegularizedClassifier((), random_state=0)
    )
    scorer = AdversarialScorer(eps=1.0, bounds=(0, 16), max_samples=200, random_state=0)
    model.fit(Xa, ya)
    times = median_times({"fit": lambda: model.fit(Xa, ya), "score": lambda: scorer(model, X, y)}, n_rounds=3)
    rows = [[name, f"{value:.2f}", f"{value / times['fit']:.2f}"] for name, value in times.items()]
    title = "Cost of the scorer beside the fit it scores: digits, max_samples=200"
    write_table("attacks_search", title, ["what", "seconds", "times the fit"], rows)
    rows = []
    for batch_size in (64, 256):
        for n in (256, 1024):
            tracemalloc.start()
            adversarial_examples(model, Xa[:n], ya[:n], eps=1.0, batch_size=batch_size, random_state=0)
            rows.append([batch_size, n, f"{tracemalloc.get_traced_memory()[1] / 2**20:.1f}"])
            tracemalloc.stop()
    header = ["batch_size", "rows", "peak MiB of NumPy arrays"]
    write_table("attacks_memory", "Peak memory of worst_case beside the model", header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=["pgd", "worst_case", "critical", "curve", "trees", "search"])
    parser.add_argument("--n-test", type=int, default=1000)
    parser.add_argument("--n-train", type=int, default=10000)
    parser.add_argument("--max-iter", type=int, default=20)
    parser.add_argument("--n-neighbour", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    size = (options.n_test, options.n_train, options.max_iter)
    if options.section == "trees":
        trees(options.n_test, options.n_neighbour)
    elif options.section == "search":
        search()
    else:
        {"pgd": pgd, "worst_case": worst_case, "critical": critical, "curve": curve}[options.section](*size)


if __name__ == "__main__":
    main()
