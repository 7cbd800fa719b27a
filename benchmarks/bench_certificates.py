"""Bounds from below: are they ever wrong, how tight are they, and what do they cost?

`python benchmarks/bench_certificates.py sound` certifies rows of fitted pipelines of every kind and asks each
about points around them; `foolbox` lets the attacks of foolbox (the `bench` extra) try the same, on what
becomes a torch module; `tight` puts bounds and attacks side by side on three tables. Without a word all run.
Tables go to ``results/certificates_*.md``.
"""

import argparse
import itertools
import time
import warnings

import numpy as np
import torch
from _common import write_table
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    RegularizedClassifier,
    ThreatModel,
    WTAEncoder,
    adversarial_examples,
    certify,
    to_torch,
)
from sklearn_brm.penalties import Jacobian

TABLES = {"cancer": load_breast_cancer, "wine": load_wine, "iris": load_iris}
STEPS = {
    "": (),
    "PCA": (PCA(4),),
    "power": (PowerTransformer(),),
    "quantiles": (QuantileTransformer(n_quantiles=50),),
}
HEADS = {
    "logistic": LogisticRegression(max_iter=2000),
    "ridge": RidgeClassifier(),
    "linear SVC": LinearSVC(random_state=0),
    "naive Bayes": GaussianNB(),
    "SVC rbf": SVC(),
    "SVC poly": SVC(kernel="poly"),
    "MLP": MLPClassifier((20,), max_iter=150, random_state=0),
    "MLP tanh, two layers": MLPClassifier((12, 8), activation="tanh", max_iter=150, random_state=0),
    "one norm, MLP": make_pipeline(Normalizer(), MLPClassifier((20,), max_iter=150, random_state=0)),
    "RegularizedClassifier": RegularizedClassifier((20,), power=2.0, max_iter=60, tol=None, random_state=0),
    "WTAEncoder": make_pipeline(
        WTAEncoder(30, random_state=0), RegularizedClassifier((), max_iter=100, tol=None, random_state=0)
    ),
}
TREES = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(15, random_state=0),
    "extra trees": ExtraTreesClassifier(15, max_depth=5, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=15, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=15, random_state=0),
}
NORMS = {np.inf: 0.15, 2.0: 0.4, 1.0: 0.7}
N_ROWS, N_POINTS = 60, 100


def pipelines():
    """Yield name, steps and head of every pipeline to try."""
    for (step, steps), (head, model) in itertools.product(STEPS.items(), HEADS.items()):
        yield f"{step} {head}".strip(), head, make_pipeline(*steps, model)
    for head, model in TREES.items():
        yield head, head, model


def points_around(X, eps, norm, rng):
    """Yield points on the surface of the balls around the rows: corners, and random directions."""
    for draw in range(N_POINTS):
        z = rng.normal(size=X.shape)
        if norm == np.inf:
            yield X + eps * (np.sign(z) if draw % 2 else rng.uniform(-1, 1, X.shape))
        else:
            yield X + eps * z / np.linalg.norm(z, ord=norm, axis=1, keepdims=True)


def sound():
    """Count certified rows that break, under the worst case and at random points."""
    found, rng = {}, np.random.default_rng(0)
    for (table, load), (name, kind, model) in itertools.product(TABLES.items(), pipelines()):
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
        X_test, y_test = X_test[:N_ROWS], y_test[:N_ROWS]
        model = clone(model).fit(X_train, y_train)
        for norm, eps in NORMS.items():
            threat = ThreatModel(norm=norm)
            proven = certify(model, X_test, y_test, eps=eps, threat=threat, time_limit=0.1, random_state=0)
            attacked = adversarial_examples(
                model, X_test, y_test, eps=eps, threat=threat, random_state=0, n_steps=20, max_queries=50
            )
            row = found.setdefault(kind, np.zeros(6, dtype=int))
            certified = np.flatnonzero(proven.certified)
            broken = np.zeros(len(y_test), dtype=bool)
            for points in points_around(X_test[certified], eps, norm, rng):
                broken[certified] |= model.predict(points) != y_test[certified] if len(certified) else False
            # What the worst case asks is not counted, only what is tried at random.
            row += [1, len(y_test), len(certified), len(certified) * N_POINTS, int(broken.sum()), 0]
            row[5] += int((proven.certified & (attacked.outcome == "broken")).sum())
        print(table, name, found[kind], flush=True)
    total = np.sum(list(found.values()), axis=0)
    rows = [[kind, *row] for kind, row in found.items()] + [["all", *total]]
    write_table(
        "certificates_sound",
        "Certified rows that break",
        [
            "kind",
            "pipelines x norms",
            "rows",
            "certified",
            "points tried",
            "broken by them",
            "broken by attacks",
        ],
        rows,
        notes=[
            f"Breast cancer, wine and iris, standardised, {N_ROWS} rows each; eps {NORMS};",
            "each head behind nothing, PCA, PowerTransformer and QuantileTransformer, trees alone.",
        ],
    )


def foolbox():
    """Count certified rows that the attacks of foolbox break, and points of which it errs."""
    import foolbox as fb

    attacks = {
        np.inf: [
            fb.attacks.LinfPGD(steps=40),
            fb.attacks.LinfDeepFoolAttack(),
            fb.attacks.LinfFastGradientAttack(),
        ],
        2.0: [
            fb.attacks.L2PGD(steps=40),
            fb.attacks.L2DeepFoolAttack(),
            fb.attacks.L2CarliniWagnerAttack(1, 100),
        ],
    }
    rows, options = [], {"bounds": (-100.0, 100.0), "device": "cpu"}
    for (kind, model), (table, load) in itertools.product(HEADS.items(), TABLES.items()):
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
        X_test, y_test = X_test[:N_ROWS], y_test[:N_ROWS]
        model = clone(model).fit(X_train, y_train)
        their_model = fb.PyTorchModel(to_torch(model), **options)
        labels = torch.as_tensor(np.searchsorted(model.classes_, y_test))
        for norm, of_norm in attacks.items():
            threat, eps = ThreatModel(norm=norm), NORMS[norm]
            proven = certify(model, X_test, y_test, eps=eps, threat=threat, time_limit=0.1, random_state=0)
            claimed, broken = np.zeros((2, len(y_test)), dtype=bool)
            for attack in of_norm:
                _, points, success = attack(their_model, torch.as_tensor(X_test), labels, epsilons=eps)
                claimed |= success.numpy()
                broken |= model.predict(points.numpy()) != y_test
            numbers = [len(y_test), proven.certified, broken, proven.certified & broken, claimed & ~broken]
            rows.append([kind, table, norm, *(int(np.sum(number)) for number in numbers)])
            print(rows[-1], flush=True)
    totals = np.sum([row[3:] for row in rows], axis=0)
    write_table(
        "certificates_foolbox",
        "Certified rows under the attacks of foolbox",
        [
            "kind",
            "table",
            "norm",
            "rows",
            "certified",
            "broken",
            "certified and broken",
            "claimed, not broken",
        ],
        [*rows, ["all", "", "", *totals]],
        notes=[
            f"As in certificates_sound, without steps in front; eps {NORMS[np.inf]} and {NORMS[2.0]}. PGD of",
            "40 steps, DeepFool, and the fast gradient or Carlini and Wagner's attack. A row counts as",
            "broken where `predict` answers wrongly at the point that foolbox gives. Claimed, not broken:",
            "foolbox counts a success there that `predict` does not share.",
        ],
    )


def tight():
    """Attacks, bounds and the exact answer of networks of 100 units on three tables."""
    rows = []
    for name, load, radii, is_image in [
        ("breast cancer", load_breast_cancer, (0.1, 0.2, 0.3), False),
        ("wine", load_wine, (0.1, 0.3, 0.5), False),
        ("digits", load_digits, (0.02, 0.05), True),
    ]:
        X, y = load(return_X_y=True)
        X = X / 16 if is_image else StandardScaler().fit_transform(X)
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
        threat = ThreatModel(bounds=(0, 1) if is_image else None)
        for penalty in (None, Jacobian(of="logits", alpha=0.01)):
            model = RegularizedClassifier((100,), penalty=penalty, max_iter=60, tol=None, random_state=0)
            model.fit(X_train, y_train)
            for eps in radii:
                rows.append([name, penalty or "none", eps, *compare(model, X_test, y_test, eps, threat)])
                print(rows[-1], flush=True)
    write_table(
        "certificates_tight",
        "What attacks break, and what is proven",
        ["table", "penalty", "eps", "attacked", "bounds", "with search", "ms/row attack", "bounds", "search"],
        rows,
        notes=[
            "One hidden layer of 100 units, 60 epochs; all rows of the test quarter; L-inf; breast cancer",
            "and wine standardised, digits in [0, 1]. The search has 1 s per row on average.",
        ],
    )


def compare(model, X, y, eps, threat):
    """Return attacked, bounded and searched accuracy, and the milliseconds of each per row."""
    answers, times = [], []
    for run in (
        lambda: adversarial_examples(model, X, y, eps=eps, threat=threat, random_state=0).robust_accuracy,
        lambda: certify(model, X, y, eps=eps, threat=threat, time_limit=0).certified_accuracy,
        lambda: certify(model, X, y, eps=eps, threat=threat, random_state=0).certified_accuracy,
    ):
        start = time.perf_counter()
        answers.append(f"{run():.3f}")
        times.append(f"{1000 * (time.perf_counter() - start) / len(y):.2f}")
    return *answers, *times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["sound", "foolbox", "tight"])
    wanted = parser.parse_args().what
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for task in (sound, foolbox, tight):
        if wanted in (None, task.__name__):
            task()
