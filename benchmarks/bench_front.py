"""How robust can a network on CIFAR-10 be at which accuracy: every mechanism of the package.

    python benchmarks/bench_front.py --output front
    python benchmarks/bench_front.py --output front --mechanisms logits mixed

Candidates learn from 45,000 training images; the other 5,000 choose among them, within each mechanism and
for each goal. Test images are parted: the first 5,000 were looked at while mechanisms were developed, the
others judge what was chosen, and nothing is added afterwards. Every candidate is trained and measured once
and kept in the output folder. The table goes to ``results/front.md``.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import HERE, IMAGE_FOLDER, write_table
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, StratifiedShuffleSplit

sys.path.insert(0, str(HERE.parent / "examples"))

from paper import beyond, measure, numbers
from paper.models import fit, load_images, mirrored
from paper.settings import GOALS, PRESETS

SETTINGS = replace(PRESETS["laptop"], search_epochs=40)
N_VALIDATION, N_LOOKED_AT = 5000, 5000
# Images whose critical norms choose and judge, and those under the worst case.
N_CHOOSING, N_JUDGING, N_WORST = 1000, 1000, 300
GRIDS = {
    "logits": {"classify__alpha": (5e-5, 1e-4, 2e-4)},
    "gradient": {"classify__alpha": (1e-3, 1.5e-3)},
    "adversarial": {"classify__penalty__eps": (0.003, 0.004)},
    "mixed": {
        "classify__penalty": [beyond.mixed(0.003, 5e-5), beyond.mixed(0.003, 1e-4), beyond.mixed(0.004, 5e-5)]
    },
    "small_adversarial": {
        "classify__penalty__eps": (0.0092, 0.01, 0.011),
        "classify__hidden_layer_sizes": ((6000,), (8000,)),
    },
    "local": {"encode__power": (12.0, 14.0), "classify__alpha": (3e-6,)},
    "mirrored_local": {"encode__power": (14.0,), "classify__alpha": (1e-7, 3e-6)},
}


def candidates(mechanisms=tuple(GRIDS)):
    """Return the pairs of a mechanism and parameters."""
    return [(name, parameters) for name in mechanisms for parameters in ParameterGrid(GRIDS[name])]


def file_name(name, parameters):
    """Return what a candidate is kept under."""
    said = beyond.describe(parameters)
    return f"{name}-{''.join(c if c.isalnum() or c == '.' else '_' for c in said)}.json"


def trained(family, parameters, X, y):
    """Return a candidate of a family, fitted to X and y, and the seconds it took."""
    model = clone(family.estimator).set_params(**parameters)
    if family.mirrored:
        X, y = np.concatenate([X, mirrored(X)]), np.concatenate([y, y])
    start = time.perf_counter()
    return fit(model, X, y), time.perf_counter() - start


def measured(name, parameters, train, test):
    """Return everything about a candidate: what chooses it, and what judges it if it is chosen."""
    family = beyond.mechanisms(SETTINGS)[name]
    X, y = train
    split = StratifiedShuffleSplit(1, test_size=N_VALIDATION, random_state=0)
    ((learned, held_out),) = split.split(X, y)
    model, seconds = trained(family, parameters, X[learned], y[learned])
    X, y = X[held_out], y[held_out]
    judge = [part[N_LOOKED_AT:] for part in test]
    found = {
        "mechanism": name,
        "title": family.title,
        "parameters": beyond.describe(parameters),
        "seconds": seconds,
        "accuracy": float(model.score(X, y)),
        "pgd": beyond.critical_norm(model, X, y, data="cifar10", n_rows=N_CHOOSING),
        "exponent": float(measure.first_exponent(model, test[0], settings=SETTINGS)),
        "test_accuracy": float(model.score(*judge)),
    }
    for attack, n_rows in (("pgd", N_JUDGING), ("worst_case", N_WORST)):
        rows = (part[:n_rows] for part in judge)
        norms = beyond.critical_norms(model, *rows, data="cifar10", attack=attack)
        found[f"test_{attack}"] = measure.median_norm(norms)
        found[f"test_{attack}_interval"] = numbers.median_interval(norms)
    return found


def chosen(found):
    """Return pairs of what a candidate was chosen for, by validation alone, and its dict."""
    columns = {key: np.array([each[key] for each in found]) for key in found[0]}
    goals = beyond.reached(columns, N_VALIDATION, N_CHOOSING)
    return [
        *(("its mechanism", best) for best in beyond.chosen(columns).values()),
        *((f"goal {letter}", best) for letter, best in goals.items()),
    ]


def table(found):
    """Write what was chosen, and how it was judged."""
    rows = []
    for purpose, each in chosen(found):
        accuracy = numbers.share_interval(each["test_accuracy"], 10_000 - N_LOOKED_AT)
        rows.append(
            [
                purpose,
                each["title"],
                each["parameters"],
                f"{each['accuracy']:.3f} / {each['pgd']:.3f}",
                _with_interval(each["test_accuracy"], accuracy),
                _with_interval(each["test_pgd"], each["test_pgd_interval"]),
                _with_interval(each["test_worst_case"], each["test_worst_case_interval"]),
                f"{each['exponent']:.2f}",
            ]
        )
    header = ["chosen for", "mechanism", "parameters", "validation: accuracy / PGD", "accuracy", "PGD"]
    header += ["worst case", "exponent"]
    goals = "; ".join(
        f"({letter}) {goal.accuracy} at {goal.norm}, {goal.says}" for letter, goal in GOALS.items()
    )
    notes = [
        f"{len(found)} candidates of {SETTINGS.search_epochs} epochs; chosen by {N_VALIDATION:,} training",
        f"images set aside ({N_CHOOSING:,} under PGD), judged by the test images from {N_LOOKED_AT:,} on:",
        f"accuracy on all {10_000 - N_LOOKED_AT:,}, median Euclidean critical norm of those right when clean",
        f"among {N_JUDGING:,} under PGD and among {N_WORST} under the worst case, with 95% intervals over",
        f"images. Goals: {goals}.",
    ]
    write_table("front", "CIFAR-10: accuracy and robustness by mechanism", header, rows, notes=notes)


def _with_interval(value, interval):
    low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("report") / "front")
    parser.add_argument("--mechanisms", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--only-table", action="store_true", help="write the table of what is there")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.only_table:
        X, y, X_test, y_test = load_images("cifar10", IMAGE_FOLDER)
        for name, parameters in candidates(options.mechanisms):
            path = options.output / file_name(name, parameters)
            if not path.exists():
                found = measured(name, parameters, (X, y), (X_test, y_test))
                print(found, flush=True)
                path.write_text(json.dumps(found))
    table([json.loads(path.read_text()) for path in sorted(options.output.glob("*.json"))])


if __name__ == "__main__":
    main()
