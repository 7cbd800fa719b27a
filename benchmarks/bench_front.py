"""How robust can a network on CIFAR-10 be at which accuracy: every mechanism of the package.

    python benchmarks/bench_front.py --output front
    python benchmarks/bench_front.py --output front --mechanisms logits mixed

Candidates learn from 45,000 training images; the other 5,000 choose among them, within each mechanism and
for each goal. Test images are parted: the first 5,000 were looked at while mechanisms were developed, the
others judge what was chosen, and nothing is added afterwards. Every candidate is trained once and kept in the
output folder; an interrupted training goes on from its last checkpoint. The table of all that are there goes
to ``results/front.md``.
"""

import argparse
import json
import pickle
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import HERE, IMAGE_FOLDER, write_table
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import ParameterGrid, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_brm import PatchEncoder, RegularizedClassifier, WTAEncoder
from sklearn_brm._checkpoints import Checkpoints

sys.path.insert(0, str(HERE.parent / "examples"))

from paper import beyond, measure, numbers
from paper.models import fit, load_images, mirrored
from paper.settings import GOALS, MECHANISMS, PRESETS

SETTINGS = replace(PRESETS["laptop"], search_epochs=30)
N_VALIDATION, N_LOOKED_AT = 5000, 5000
# Images whose critical norms choose and judge, and those under the worst case.
N_CHOOSING, N_JUDGING, N_WORST = 1000, 1000, 300
_LARGE_RADII = [
    {"classify__penalty__eps": (0.0085, 0.0092, 0.01), "classify__hidden_layer_sizes": ((4000,),)},
]
GRIDS = {
    "logits": {"classify__alpha": (1e-4,)},
    "mixed": {"classify__penalty": [beyond.mixed(0.003, 5e-5)]},
    "small_adversarial": _LARGE_RADII,
    "averaged_adversarial": _LARGE_RADII,
    "patches": {"classify__alpha": (1e-3, 1e-2)},
}
# Candidates that are trained ones of another mechanism, asked about an image and its mirror image.
AVERAGED = {"averaged_adversarial": "small_adversarial"}


def families():
    """Return what is searched, by name."""
    found = beyond.mechanisms(SETTINGS)
    patches = PatchEncoder(
        WTAEncoder(100, norm=2), image_shape=(32, 32, 3), patch_size=6, stride=2, random_state=0
    )
    head = RegularizedClassifier((), penalty="l2", random_state=0)
    found["patches"] = beyond.Mechanism(
        "local learning on patches, penalised linear classifier",
        Pipeline([("encode", patches), ("classify", head)]),
    )
    for name, other in AVERAGED.items():
        title = f"{found[other].title}; answers for both mirror images averaged"
        found[name] = replace(found[other], title=title)
    return found


def goals():
    """Return the goals of the paper's example, open to what is searched here alone."""
    means = {"b": (*MECHANISMS, *AVERAGED, "patches")}
    return {
        letter: replace(goal, mechanisms=means.get(letter, goal.mechanisms)) for letter, goal in GOALS.items()
    }


def candidates(mechanisms=tuple(GRIDS)):
    """Return the pairs of a mechanism and parameters."""
    return [(name, parameters) for name in mechanisms for parameters in ParameterGrid(GRIDS[name])]


def path_of(folder, name, parameters):
    """Return what a candidate is kept under, less the ending."""
    said = beyond.describe(parameters)
    return folder / f"{name}-{''.join(c if c.isalnum() else '_' for c in said)}"


class Front:
    """Candidates in a folder: trained, measured by what chooses them, and judged.

    Parameters
    ----------
    folder : Path
    train, test : pairs of arrays
        Images and their classes.
    """

    def __init__(self, folder, train, test):
        self.folder = folder
        self.families = families()
        X, y = train
        split = StratifiedShuffleSplit(1, test_size=N_VALIDATION, random_state=0)
        ((learned, held_out),) = split.split(X, y)
        self.train, self.validation = (X[learned], y[learned]), (X[held_out], y[held_out])
        self.judges = tuple(part[N_LOOKED_AT:] for part in test)

    def model(self, name, parameters):
        """Return a fitted candidate, and the seconds its training took."""
        X, y = self.train
        if name in AVERAGED:
            model, seconds = self.model(AVERAGED[name], parameters)
            return averaged(model, X[:1000], y[:1000]), seconds
        path = path_of(self.folder, name, parameters).with_suffix(".pkl")
        if not path.exists():
            family = self.families[name]
            if family.mirrored:
                X, y = np.concatenate([X, mirrored(X)]), np.concatenate([y, y])
            start = time.perf_counter()
            with Checkpoints(path.with_suffix(".checkpoints"), every=300):
                model = fit(clone(family.estimator).set_params(**parameters), X, y)
            path.write_bytes(pickle.dumps((model, time.perf_counter() - start)))
        return pickle.loads(path.read_bytes())

    def measured(self, name, parameters):
        """Return what chooses a candidate."""
        path = path_of(self.folder, name, parameters).with_suffix(".json")
        if not path.exists():
            model, seconds = self.model(name, parameters)
            X, y = self.validation
            found = {
                "mechanism": name,
                "title": self.families[name].title,
                "parameters": beyond.describe(parameters),
                "seconds": seconds,
                "accuracy": float(model.score(X, y)),
                "pgd": beyond.critical_norm(model, X, y, data="cifar10", n_rows=N_CHOOSING),
            }
            print(found, flush=True)
            path.write_text(json.dumps(found))
        return json.loads(path.read_text())

    def judged(self, name, parameters):
        """Return what judges a candidate, once it was chosen."""
        path = path_of(self.folder, name, parameters).with_suffix(".judged.json")
        if not path.exists():
            model, _ = self.model(name, parameters)
            found = {"accuracy": float(model.score(*self.judges))}
            for attack, n_rows in (("pgd", N_JUDGING), ("worst_case", N_WORST)):
                rows = (part[:n_rows] for part in self.judges)
                norms = beyond.critical_norms(model, *rows, data="cifar10", attack=attack)
                found[attack] = measure.median_norm(norms)
                found[f"{attack}_interval"] = numbers.median_interval(norms)
            print(name, parameters, found, flush=True)
            path.write_text(json.dumps(found))
        return json.loads(path.read_text())


def averaged(model, X, y):
    """Return a fitted model that averages the probabilities of an image and of its mirror image."""
    frozen = FrozenEstimator(model)
    members = [("as_it_is", frozen), ("mirrored", make_pipeline(FunctionTransformer(mirrored), frozen))]
    return VotingClassifier(members, voting="soft").fit(X, y)


def chosen(found):
    """Return pairs of what a candidate was chosen for, by validation alone, and its place."""
    columns = {key: np.array([each[key] for each in found]) for key in found[0]}
    columns["place"] = np.arange(len(found))
    nearest = beyond.reached(columns, N_VALIDATION, N_CHOOSING, goals())
    return [
        *(("its mechanism", best["place"]) for best in beyond.chosen(columns).values()),
        *((f"goal {letter}", best["place"]) for letter, best in nearest.items()),
    ]


def table(front):
    """Write what was chosen, and how it was judged."""
    there = [pair for pair in candidates() if path_of(front.folder, *pair).with_suffix(".json").exists()]
    found = [front.measured(*pair) for pair in there]
    rows = []
    for purpose, place in chosen(found):
        each, judged = found[place], front.judged(*there[place])
        share = numbers.share_interval(judged["accuracy"], len(front.judges[0]))
        rows.append(
            [
                purpose,
                each["title"],
                each["parameters"],
                f"{each['accuracy']:.3f} / {each['pgd']:.3f}",
                _with_interval(judged["accuracy"], share),
                _with_interval(judged["pgd"], judged["pgd_interval"]),
                _with_interval(judged["worst_case"], judged["worst_case_interval"]),
            ]
        )
    header = ["chosen for", "mechanism", "parameters", "validation: accuracy / PGD", "accuracy", "PGD"]
    header += ["worst case"]
    said = "; ".join(
        f"({letter}) {goal.accuracy} at {goal.norm}, {goal.says}" for letter, goal in GOALS.items()
    )
    notes = [
        f"{len(found)} candidates, {SETTINGS.search_epochs} epochs each; chosen by {N_VALIDATION:,} training",
        f"images set aside ({N_CHOOSING:,} under PGD), judged by the test images from {N_LOOKED_AT:,} on:",
        f"accuracy on all {len(front.judges[0]):,}, median Euclidean critical norm of those right when clean",
        f"among {N_JUDGING:,} under PGD and among {N_WORST} under the worst case, with 95% intervals over",
        f"images. Images are divided by their 3-norm, as in the paper. Goals: {said}.",
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
    X, y, X_test, y_test = load_images("cifar10", IMAGE_FOLDER)
    front = Front(options.output, (X, y), (X_test, y_test))
    if not options.only_table:
        for pair in candidates(options.mechanisms):
            front.measured(*pair)
    table(front)


if __name__ == "__main__":
    main()
