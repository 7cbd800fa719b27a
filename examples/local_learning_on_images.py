"""Local learning that sees images as images: what patches, learning and a second layer are worth.

    python examples/local_learning_on_images.py                        # digits, about a minute, no download
    python examples/local_learning_on_images.py --data FOLDER --images 10000 --units 100 400

Trains one and two layers of local learning on patches, k-means in the same place, and what has to be beaten:
the pixels themselves, and patches of the data without learning. Writes a table, accuracy against the number
of units, the filters of the first layer, and the patches that drive units of the second. Each network is
measured once and kept in the output folder; the same command goes on from there.
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import (
    DrivingPatchDisplay,
    PatchEncoder,
    ReceptiveFieldDisplay,
    RegularizedClassifier,
    WTAEncoder,
)
from sklearn_brm.datasets import fetch_cifar10

DEFAULTS = {"units": [10, 25, 50, 100], "patch_size": 4, "n_patches": 20_000}
CIFAR10 = {"units": [50, 100, 200, 400], "patch_size": 6, "n_patches": 50_000}


def load(options):
    """Return training images, test images and their labels: digits, or CIFAR-10 where a folder is given."""
    if options.data is None:
        X, y = load_digits(return_X_y=True)
        return train_test_split(X.astype(np.float32), y, test_size=0.3, random_state=0)
    X, y = fetch_cifar10(options.data, n_samples=options.images)
    X_test, y_test = fetch_cifar10(options.data, split="test", n_samples=options.images)
    return X, X_test, y, y_test


def encoders(n_units):
    """Return by its name what learns from patches."""
    return {
        "local learning": WTAEncoder(n_units, norm=2),
        "k-means": KMeans(n_units, n_init=1),
        "patches, no learning": WTAEncoder(n_units, norm=2, max_iter=0),
    }


def one_layer(encoder, settings):
    return [("first", PatchEncoder(encoder, random_state=0, **settings))]


def two_layers(n_units, settings, side):
    """A first layer whose maps are halved, and a second one that sees three by three of its places."""
    pools = {"padding": "same", "pool_size": 2, "grid": None}
    first = PatchEncoder(WTAEncoder(n_units, norm=2), random_state=0, **settings | pools)
    # "same" loses a row and a column where the patch has an even side.
    places = (side - (settings["patch_size"] + 1) % 2) // 2
    second = PatchEncoder(
        WTAEncoder(2 * n_units, norm=2),
        image_shape=(places, places),
        patch_size=3,
        n_patches=settings["n_patches"],
        random_state=1,
    )
    return [("first", first), ("second", second)]


def model(layers):
    """Return layers with a linear classifier on their standardised maps."""
    head = RegularizedClassifier(
        (), penalty="l2", alpha=1e-3, schedule="cosine", max_iter=60, tol=None, random_state=0
    )
    return Pipeline([*layers, ("scale", StandardScaler()), ("classify", head)])


def measured(path, pipeline, data):
    """Return the accuracy of a pipeline, from disk where it is known."""
    if not path.exists():
        X, X_test, y, y_test = data
        path.write_text(json.dumps(clone(pipeline).fit(X, y).score(X_test, y_test)))
    return json.loads(path.read_text())


def measure_all(options, settings, data):
    """Return {(name, units): accuracy}."""
    side = 8 if options.data is None else 32
    rows = {("pixels", 0): []}
    for n_units in options.units:
        for name, encoder in encoders(n_units).items():
            rows[name, n_units] = one_layer(encoder, settings)
    rows["local learning, two layers", options.units[-1]] = two_layers(options.units[-1], settings, side)
    found = {}
    for (name, n_units), layers in rows.items():
        path = options.output / f"{name.replace(', ', '_').replace(' ', '_')}_{n_units}.json"
        found[name, n_units] = measured(path, model(layers), data)
        print(f"{name:28} {n_units or '':>5}  {found[name, n_units]:.4f}", flush=True)
    return found


def draw_curve(found, path):
    """Draw accuracy against the number of units, with the pixels as a line."""
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in dict.fromkeys(name for name, units in found if units):
        units = [n for other, n in found if other == name]
        ax.plot(units, [found[name, n] for n in units], "o-", label=name)
    ax.axhline(found["pixels", 0], color="black", linestyle=":", label="pixels")
    ax.set(xscale="log", xlabel="units of the first layer", ylabel="test accuracy")
    ax.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=100)


def draw_units(options, settings, data):
    """Draw the filters of a first layer, and what drives units of a second one."""
    X = data[0]
    layers = Pipeline(two_layers(options.units[-1], settings, 8 if options.data is None else 32)).fit(X)
    for name, display in {
        "filters": ReceptiveFieldDisplay.from_estimator(layers[0]),
        "driving_patches": DrivingPatchDisplay.from_estimator(layers, X[:500]),
    }.items():
        display.figure_.savefig(options.output / f"{name}.png", dpi=100)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="PATH", help="file or folder with CIFAR-10; else digits")
    parser.add_argument("--images", type=int, help="how many of them to train on, and to test on at most")
    parser.add_argument("--units", type=int, nargs="+", help="units of the first layer, rising")
    parser.add_argument("--output", type=Path, default=Path("report") / "local_learning")
    options = parser.parse_args()
    defaults = DEFAULTS if options.data is None else CIFAR10
    options.units = options.units or defaults["units"]
    options.output.mkdir(parents=True, exist_ok=True)
    settings = {name: defaults[name] for name in ("patch_size", "n_patches")}
    data = load(options)
    draw_curve(measure_all(options, settings, data), options.output / "accuracy.png")
    draw_units(options, settings, data)
    print(f"\nTables and pictures: {options.output.resolve()}")


if __name__ == "__main__":
    main()
