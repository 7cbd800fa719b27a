"""Local learning on images against what a referee asks for: CIFAR-10 and MNIST, one layer and three.

    python benchmarks/bench_images.py cifar10 --output images
    python benchmarks/bench_images.py mnist --rows local_400 kmeans_400
    python benchmarks/bench_images.py cifar10 --images 10000 --rows local_400 rows_400 pixels

Every row is computed once, on all test images, and kept in the output folder, so that the same command goes
on where it was interrupted. Tables are written to `results/images_*.md` from all rows that are there.
"""

import argparse
import json
import pickle
import time
from functools import partial
from pathlib import Path

import _images
import numpy as np
from _common import HERE, load_cifar10, load_mnist, write_table
from sklearn.pipeline import Pipeline

from sklearn_brm import DrivingPatchDisplay, ReceptiveFieldDisplay

_LOADERS = {"cifar10": (load_cifar10, (32, 32, 3)), "mnist": (load_mnist, (28, 28, 1))}
_TITLES = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
# Strengths in units of standardised features: few features are chosen among many, many among few.
_HEADS = {
    "small": _images.Head((3e-4, 1e-3, 3e-3, 1e-2)),
    "large": _images.Head((3e-3, 1e-2, 3e-2)),
}
_MANY_FEATURES = 10_000
_NOTES = {
    "cifar10": "They are those of a JPEG copy of CIFAR-10.",
    "mnist": "",
}


class Folder:
    """Where results, layers and features are kept."""

    def __init__(self, path, data):
        self.path = Path(path) / data
        self.path.mkdir(parents=True, exist_ok=True)

    def has(self, name):
        """Return whether a row is there."""
        return (self.path / f"{name}.json").exists()

    def result(self, name, compute=None):
        """Return the dict of a row, computed where it is not there yet."""
        path = self.path / f"{name}.json"
        if not path.exists():
            content = json.dumps(compute(), indent=1)
            path.write_text(content)
        return json.loads(path.read_text())

    def features(self, name, layers, images):
        """Return the features of training and test images, with the seconds they took."""
        paths = [self.path / f"{name}_{split}.npy" for split in ("train", "test")]
        times = self.path / f"{name}_seconds.json"
        if not times.exists():
            found, seconds = learn(layers, images)
            for path, array in zip(paths, found):
                np.save(path, array)
            (self.path / f"{name}.pkl").write_bytes(pickle.dumps(layers))
            times.write_text(json.dumps(seconds))
        return [np.load(path, mmap_mode="r") for path in paths], json.loads(times.read_text())

    def mirrored(self, name, X, image_shape):
        """Return the features of mirrored training images, by the layers of a row that is there."""
        path = self.path / f"{name}_mirrored.npy"
        if not path.exists():
            images = _images.mirrored(X, image_shape)
            for layer in pickle.loads((self.path / f"{name}.pkl").read_bytes()):
                images = layer.transform(images)
            np.save(path, images)
        return np.load(path, mmap_mode="r")


class Stacked:
    """Two arrays, one below the other, of which rows can be asked for."""

    def __init__(self, *arrays):
        self.arrays = arrays
        self.shape = sum(map(len, arrays)), arrays[0].shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        n = len(self.arrays[0])
        first, last = rows.start, min(rows.stop, len(self))
        parts = self.arrays[0][first:last], self.arrays[1][max(first - n, 0) : max(last - n, 0)]
        return np.concatenate(parts)


def learn(layers, images):
    """Fit each layer on the maps of the one before; return the last maps and the seconds of each layer."""
    seconds = {"learn": [], "map": []}
    for layer in layers:
        start = time.perf_counter()
        layer.fit(images[0])
        learned = time.perf_counter()
        images = [layer.transform(each) for each in images]
        seconds["learn"].append(learned - start)
        seconds["map"].append(time.perf_counter() - learned)
        print(f"  {layer.image_shape_out_}: {seconds}", flush=True)
    return images, seconds


def run(data, names, output, n_images):
    """Compute the rows, one after the other, and write the table."""
    load, image_shape = _LOADERS[data]
    label = data if n_images is None else f"{data}_{n_images}"
    folder, networks = Folder(output, label), _images.networks(image_shape)
    splits = None
    for name in names or networks:
        if folder.has(name):
            continue
        splits = splits or [load("train", n_images), load("test")]
        print(f"{data}, {name}", flush=True)
        found = folder.result(name, partial(measure, folder, name, networks, splits, image_shape))
        print(found, flush=True)
    table(data, folder, networks, n_images)
    picture(folder, data)


def measure(folder, name, networks, splits, image_shape):
    """Return what a row of the table says."""
    layers = networks[name][1]
    start = time.perf_counter()
    if layers is None:
        found = _images.backpropagation_result(image_shape, *splits)
        return found | {"head": time.perf_counter() - start}
    (X, y), (X_test, y_test) = splits
    parts, seconds = [], {"learn": [], "map": []}
    for each in layers if isinstance(layers, tuple) else [name]:
        (train, test), taken = folder.features(each, networks[each][1], [X, X_test])
        if name.endswith("mirrored"):
            train = Stacked(train, folder.mirrored(each, X, image_shape))
        parts.append((train, test))
        seconds = {key: seconds[key] + taken[key] for key in seconds}
    start = time.perf_counter()
    train, test = ([part[i] for part in parts] for i in (0, 1))
    head = _HEADS["large" if sum(part.shape[1] for part in train) > _MANY_FEATURES else "small"]
    found = head.measure(train, y, test, y_test)
    return found | seconds | {"head": time.perf_counter() - start}


def table(data, folder, networks, n_images):
    """Write what is there."""
    rows = []
    for name, (title, _) in networks.items():
        if not folder.has(name):
            continue
        found = folder.result(name)
        rows.append(
            [
                title,
                f"{found['n_features']:,}",
                f"{found['accuracy']:.4f}",
                f"{found['training_accuracy']:.3f}",
                f"{found['alpha']:g}",
                *(f"{sum(found[part]):.0f}" for part in ("learn", "map")),
                f"{found['head']:.0f}",
            ]
        )
    header = ["network", "features", "test accuracy", "training accuracy", "alpha"]
    header += ["learn [s]", "map [s]", "head [s]"]
    train = "All images train" if n_images is None else f"The first {n_images:,} images train"
    notes = [
        f"{train}, all 10,000 test images are tested. {_NOTES[data]}",
        "Seconds are those of the clock, beside other work on the same machine.",
    ]
    title = f"{_TITLES[data]}: local learning on patches"
    write_table(f"images_{folder.path.name}", title, header, rows, notes=notes)


def picture(folder, data):
    """Draw the units of first layers by each rule, and what drives those of the third, where they are."""
    paths = [folder.path / f"{name}.pkl" for name in ("local_1600", "soft_3")]
    if not all(path.exists() for path in paths):
        return
    import matplotlib.pyplot as plt

    (first,), soft = (pickle.loads(path.read_bytes()) for path in paths)
    X, _ = _LOADERS[data][0]("test", 400)
    figure, axes = plt.subplots(1, 3, figsize=(15, 5))
    ReceptiveFieldDisplay.from_estimator(first, n_units=100, ax=axes[0])
    ReceptiveFieldDisplay.from_estimator(soft[0], n_units=100, ax=axes[1])
    layers = Pipeline([(f"layer_{i}", layer) for i, layer in enumerate(soft)])
    DrivingPatchDisplay.from_estimator(layers, X, n_units=8, n_best=8, ax=axes[2])
    for ax in axes:
        if ax.get_legend():
            ax.get_legend().remove()
    axes[0].set_title("hard rule, whitened patches: 100 of 1,600")
    axes[1].set_title("soft rule, first layer: all")
    axes[2].set_title("soft rule, third layer: 8 of 1,536")
    path = HERE.parent / "docs" / "images" / f"units_{data}.png"
    figure.savefig(path, dpi=60, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*_LOADERS])
    parser.add_argument("--rows", nargs="+", help="which rows; else all")
    parser.add_argument("--images", type=int, help="how many training images; else all")
    parser.add_argument("--output", type=Path, default=Path("report") / "images")
    options = parser.parse_args()
    run(options.part, options.rows, options.output, options.images)


if __name__ == "__main__":
    main()
