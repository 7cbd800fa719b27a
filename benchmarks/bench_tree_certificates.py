"""What is proven of trees: beside what the attack breaks, and beside the cliques of ART.

`attacked` takes breast cancer, standardised, 100 rows, L-inf. The exact accuracy is that of the search over
leaves, checked row by row: where it says broken, the estimator answers wrongly at the point that it gives.
`--veritas` adds the answers of the package dtai-veritas, which must be importable. `cliques` takes MNIST and
the clique method of adversarial-robustness-toolbox (the `bench` extra). Without a word both run.
"""

import argparse
import time

import numpy as np
from _common import load_mnist, write_table
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import AdversarialScorer
from sklearn_brm._bridge.tree_ensembles import read_trees
from sklearn_brm.functional.leaves import Region, breaking_point, search

EPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
MODELS = {
    "one tree": DecisionTreeClassifier(random_state=0),
    "forest of 25, depth 6": RandomForestClassifier(25, max_depth=6, random_state=0),
    "50 boosted trees": GradientBoostingClassifier(n_estimators=50, random_state=0),
    "forest of 100": RandomForestClassifier(100, random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(random_state=0),
}
TIME_LIMIT = 1.0


def rows():
    """Training rows and the first 100 of the others."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X[::2], y[::2], X[1::2][:100], y[1::2][:100]


def timed(function):
    start = time.perf_counter()
    answer = function()
    return answer, time.perf_counter() - start


def check(model, verdicts, X, y, eps):
    """The point of every broken row is one."""
    points, broken = breaking_point(verdicts, X), verdicts.broken
    if broken.any():
        assert (model.predict(points[broken]) != y[broken]).all()
        assert (np.abs(points - X)[broken] <= eps * (1 + 1e-12)).all()


def veritas_stands(model, X, y, eps):
    """Rows of which Veritas finds no wrong answer; None where it does not read the model."""
    import veritas

    try:
        trees = veritas.get_addtree(model, silent=True)
    except Exception:
        return None
    stands = []
    for row, label in zip(X, y):
        ends = zip(
            (row - eps).astype(np.float32), np.nextafter((row + eps).astype(np.float32), np.float32(9e9))
        )
        config = veritas.Config(veritas.HeuristicType.MAX_OUTPUT)
        config.stop_when_num_solutions_exceeds, config.stop_when_optimal = 1, True
        config.ignore_state_when_worse_than = 0.0
        one = trees if label == 0 else trees.negate_leaf_values()
        found = config.get_search(one, [veritas.Interval(float(low), float(high)) for low, high in ends])
        found.step_for(TIME_LIMIT, 100)
        stands.append(found.num_solutions() == 0)
    return np.array(stands)


def line(name, model, trees, X, y, eps, with_veritas):
    region = Region(X - eps, X + eps)
    (verdicts, seconds), (sums, sum_seconds) = (
        timed(lambda limit=limit: search(trees, region, y, time_limit=limit)) for limit in (TIME_LIMIT, 0)
    )
    check(model, verdicts, X, y, eps)
    standing, attack_seconds = timed(lambda: AdversarialScorer(eps, random_state=0)(model, X, y))
    exact = f"{verdicts.certified.mean():.2f}"
    if not verdicts.complete.all():
        exact += f" to {1 - verdicts.broken.mean():.2f}"
    numbers = [f"{sums.certified.mean():.2f}", exact, f"{standing:.2f}"]
    times = [f"{value:.3g}" for value in (sum_seconds, seconds, attack_seconds)]
    if with_veritas:
        stands, veritas_seconds = timed(lambda: veritas_stands(model, X, y, eps))
        numbers.append("" if stands is None else f"{stands.mean():.2f}")
        times.append("" if stands is None else f"{veritas_seconds:.3g}")
    return [name, eps, *numbers, *times]


def attacked(with_veritas):
    X_train, y_train, X, y = rows()
    table = []
    for name, model in MODELS.items():
        model.fit(X_train, y_train)
        trees = read_trees(model)
        table += [line(name, model, trees, X, y, eps, with_veritas) for eps in EPS]
    kinds = ["worst leaves", "exact", "attacked", *(["Veritas"] if with_veritas else [])]
    write_table(
        "tree_certificates",
        "Trees: accuracy that is proven, exact, and under attack",
        ["model", "eps", *kinds, *(f"s {kind}" for kind in kinds)],
        table,
        notes=[
            "Breast cancer, standardised; trained on every second row; the first 100 of the others; L-inf.",
            f"Seconds are for all 100 rows; search and Veritas have {TIME_LIMIT} s per row, and what",
            "Veritas leaves open counts as standing. Every broken row was checked: the estimator answers",
            "wrongly at the point that the search gives.",
        ],
    )


# As in ART's own tests, and two larger ones for two classes.
TEN_CLASSES = {
    "forest": RandomForestClassifier(4, max_depth=6, random_state=42),
    "extra trees": ExtraTreesClassifier(4, max_depth=6, random_state=42),
    "boosted": GradientBoostingClassifier(n_estimators=4, max_depth=6, random_state=42),
}
TWO_CLASSES = {
    "forest of 20": RandomForestClassifier(20, max_depth=6, random_state=42),
    "20 boosted trees": GradientBoostingClassifier(n_estimators=20, max_depth=4, random_state=42),
}
# ART starts at the first radius, halves or doubles it, and closes in by bisection.
FIRST_EPS, N_SEARCHED, N_CLIQUES = 0.3, 10, 50


def clique_bounds(model, X, y):
    """Return the radius that ART's cliques of two, over two levels, prove of each row."""
    from art.estimators.classification import SklearnClassifier
    from art.metrics import RobustnessVerificationTreeModelsCliqueMethod

    method = RobustnessVerificationTreeModelsCliqueMethod(SklearnClassifier(model), verbose=False)
    options = {"eps_init": FIRST_EPS, "nb_search_steps": N_SEARCHED, "max_clique": 2, "max_level": 2}
    return np.array([method.verify(X[[i]], y[[i]], **options)[0] for i in range(len(y))])


def search_bounds(trees, X, y):
    """Return the same by the search over leaves, along the same radii, and the next one."""
    eps, low, high = np.full(len(y), FIRST_EPS), np.zeros(len(y)), np.full(len(y), np.inf)
    for _ in range(N_SEARCHED):
        proven = stands(trees, X, y, eps).certified
        low, high = np.where(proven, eps, low), np.where(proven, high, eps)
        eps = np.where(
            np.isinf(high), np.minimum(2 * low, 1.0), np.where(low > 0, (low + high) / 2, high / 2)
        )
    return low, high


def stands(trees, X, y, eps):
    return search(trees, Region(X - eps[:, None], X + eps[:, None]), y, time_limit=TIME_LIMIT)


def clique_line(name, model, train, X, y):
    model.fit(*train)
    trees, y = read_trees(model), np.searchsorted(model.classes_, y)
    ((ours, unproven), seconds), (theirs, their_seconds) = (
        timed(lambda: search_bounds(trees, X, y)),
        timed(lambda: clique_bounds(model, X, y)),
    )
    # Where ART says more, the estimator itself is asked at the point that breaks the row at a smaller radius.
    more = np.flatnonzero(theirs > ours + 1e-9)
    verdicts = stands(trees, X[more], y[more], np.minimum(unproven[more], theirs[more]))
    answers = model.predict(breaking_point(verdicts, X[more])) if len(more) else model.classes_[y[more]]
    n_wrong = int((verdicts.broken & (answers != model.classes_[y[more]])).sum())
    tighter = int((ours > theirs + 1e-9).sum())
    times = [f"{seconds:.2f}", f"{their_seconds:.1f}", f"{their_seconds / seconds:.0f}"]
    return [name, len(y), f"{ours.mean():.5f}", f"{theirs.mean():.5f}", tighter, len(more), n_wrong, *times]


CLIQUE_NOTES = [
    f"MNIST in [0, 1], L-inf, {N_SEARCHED} radii from {FIRST_EPS} on by halving, doubling and bisection.",
    "Ten classes: the ensembles of ART's own tests on the first 1000 training rows. ART: cliques of two,",
    "two levels. Where ART says a larger radius, the estimator was asked about the point at which the search",
    "breaks the row within it: of these broken counts where `predict` answers wrongly there, so that ART's",
    "bound is none. Of a forest of two classes ART compares the share of votes with 0 in place of one half.",
]


def cliques():
    """The search over leaves beside ART's cliques, turn by turn."""
    X, y = load_mnist("train", 1000)
    X = X.astype(np.float32)
    table = [
        clique_line(f"{name}, ten classes", model, (X, y), X[:N_CLIQUES], y[:N_CLIQUES])
        for name, model in TEN_CLASSES.items()
    ]
    X, y = load_mnist("train", 10_000)
    rows = np.isin(y, (2, 6))
    X, y = X[rows].astype(np.float32), y[rows]
    table += [
        clique_line(
            f"{name}, 2 against 6", model, (X[N_CLIQUES:], y[N_CLIQUES:]), X[:N_CLIQUES], y[:N_CLIQUES]
        )
        for name, model in TWO_CLASSES.items()
    ]
    write_table(
        "tree_certificates_cliques",
        "Trees: radii that are proven, by the search over leaves and by ART's cliques",
        [
            "model",
            "rows",
            "mean radius",
            "ART's",
            "rows with more",
            "ART has more",
            "of these broken",
            "s",
            "s ART",
            "ratio",
        ],
        table,
        notes=CLIQUE_NOTES,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["attacked", "cliques"])
    parser.add_argument("--veritas", action="store_true")
    wanted = parser.parse_args()
    if wanted.what in (None, "attacked"):
        attacked(wanted.veritas)
    if wanted.what in (None, "cliques"):
        cliques()
