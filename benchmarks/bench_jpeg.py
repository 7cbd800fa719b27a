"""What a lossy copy of CIFAR-10 costs: the same images, as they were published and as JPEG of quality 75.

    python benchmarks/bench_jpeg.py FOLDER_WITH_cifar10_train.npz

The copy that the committed tables are of holds JPEG files with the quantisation tables of quality 75 and with
colour at half the resolution. So each image is compressed and decoded again in that way, networks learn from
the one or the other, and cross-validation on the same folds compares them.
"""

import argparse
import io
from pathlib import Path

import _images
import numpy as np
from _common import write_table
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import RegularizedClassifier, WTAEncoder
from sklearn_brm.datasets import fetch_cifar10

QUALITY, COLOUR = 75, "4:2:0"
_SHAPE = (32, 32, 3)


def compressed(X):
    """Return images in [0, 1] as they come back from JPEG."""
    from PIL import Image

    found = np.empty_like(X)
    for row, out in zip(X, found):
        file = io.BytesIO()
        image = Image.fromarray(np.round(row.reshape(_SHAPE) * 255).astype(np.uint8))
        image.save(file, "JPEG", quality=QUALITY, subsampling=COLOUR)
        out[:] = np.asarray(Image.open(file), dtype=X.dtype).ravel() / 255
    return found


def networks():
    """Return the contestants: bare pixels, and layers that learn from patches."""
    head = RegularizedClassifier((), penalty="l2", alpha=3e-3, standardize=False, random_state=0)
    found = {"raw pixels, 200 hidden units": [RegularizedClassifier((200,), max_iter=20, random_state=0)]}
    for n in (400, 1600):
        layer = _images.one_layer(WTAEncoder(n, norm=2, precision="bfloat16"), _SHAPE)
        found[f"local learning, {n:,} units"] = [*layer, StandardScaler(), head]
    return {name: make_pipeline(*steps) for name, steps in found.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("originals", type=Path, help="file or folder with CIFAR-10 as it was published")
    parser.add_argument("--images", type=int, help="how many of its training images; else all")
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    X, y = fetch_cifar10(options.originals, split="train", n_samples=options.images)
    copies = {"originals": X, "JPEG": compressed(X)}
    error = ((copies["JPEG"] - X) ** 2).mean(axis=1)
    folds = list(StratifiedKFold(options.folds, shuffle=True, random_state=0).split(X, y))
    rows = []
    for name, network in networks().items():
        right = {}
        for title, images in copies.items():
            answers = np.empty_like(y)
            for train, test in folds:
                answers[test] = network.fit(images[train], y[train]).predict(images[test])
            right[title] = (answers == y).astype(float)
        difference = right["JPEG"] - right["originals"]
        standard_error = difference.std() / np.sqrt(len(y))
        values = [f"{right[title].mean():.4f}" for title in copies]
        rows.append([name, *values, f"{difference.mean():+.4f} ± {standard_error:.4f}"])
        print(rows[-1], flush=True)
    header = ["network", "accuracy, originals", "accuracy, JPEG", "difference, standard error"]
    notes = [
        f"{len(X):,} images, {options.folds} folds. Median peak signal-to-noise ratio of the copies:",
        f"{np.median(-10 * np.log10(error)):.1f} dB.",
    ]
    title = f"CIFAR-10 as published and as JPEG, quality {QUALITY}, colour {COLOUR}"
    write_table("images_jpeg", title, header, rows, notes=notes)


if __name__ == "__main__":
    main()
