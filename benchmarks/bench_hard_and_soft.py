"""Why the hard rule degrades in the second layer and the soft one does not.

    python benchmarks/bench_hard_and_soft.py

A first layer of the soft rule on 3,000 images of CIFAR-10, then a second one by several ways of learning: how
alike its units are, over how many directions their answers spread, and what a linear classifier on quadrants
of its maps makes of 1,000 other images. Needs the image archives.
"""

import warnings

import _images
import numpy as np
from _common import load_cifar10, write_table
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_N_TRAIN, _N_TEST = 3_000, 1_000
_SETTINGS = (
    _images.SoftLayer(96, 5, 1.0, 0.7, "max", 4, 0.08, 50_000, 500),
    _images.SoftLayer(384, 3, 0.65, 1.4, "max", 4, 0.005, 50_000, 500),
)
_HARD = {
    "rule": "minibatch",
    "init": "rows",
    "learning_rate": 0.02,
    "schedule": "linear",
    "normalize": True,
}
_WHITE = {"contrast": 0.01, "whitening": 0.1}
_VARIANTS = {
    "rows, no learning": (_HARD | {"max_iter": 0}, {}),
    "hard rule": (_HARD, {}),
    "hard rule, no inhibition": (_HARD | {"inhibition": 0.0}, {}),
    "hard rule, whitened patches": (_HARD, _WHITE),
    "soft rule": ({}, {}),
}


def likeness(encoder):
    """Return the mean cosine between units, and the share of their common mean in them."""
    W = encoder.components_ / np.linalg.norm(encoder.components_, axis=1, keepdims=True)
    cosines = W @ W.T
    return (cosines.sum() - len(W)) / (len(W) * (len(W) - 1)), np.linalg.norm(W.mean(axis=0))


def spread(layer, images):
    """Return the participation ratio of the answers, before pooling, at random places."""
    answers = layer.maps(images)
    answers = answers.reshape(-1, answers.shape[-1]).astype(np.float64)
    variances = np.linalg.eigvalsh(
        np.cov(answers[np.random.default_rng(0).permutation(len(answers))[:20_000]].T)
    )
    return variances.sum() ** 2 / np.square(variances).sum()


def main():
    warnings.simplefilter("ignore")
    (X, y), (X_test, y_test) = load_cifar10("train", _N_TRAIN), load_cifar10("test", _N_TEST)
    first, _ = _images.soft_layers((32, 32, 3), _SETTINGS, updates=3000)
    maps, test_maps = first.fit(X).transform(X), first.transform(X_test)
    rows = []
    for title, (learning, patches) in _VARIANTS.items():
        layer = _images.soft_layers((32, 32, 3), _SETTINGS, updates=3000)[1]
        layer.encoder.set_params(**learning)
        layer.set_params(grid=2, **patches).fit(maps)
        cosine, common = likeness(layer.encoder_)
        head = make_pipeline(StandardScaler(), RidgeClassifier(300)).fit(layer.transform(maps), y)
        rows.append(
            [
                title,
                f"{cosine:.3f}",
                f"{common:.3f}",
                f"{spread(layer, maps[:200]):.1f}",
                f"{np.mean(layer.encoder_.dead_):.2f}",
                f"{head.score(layer.transform(test_maps), y_test):.3f}",
            ]
        )
        print(rows[-1], flush=True)
    header = [
        "second layer",
        "mean cosine of units",
        "norm of mean unit",
        "directions of answers",
        "dead",
        "accuracy",
    ]
    notes = [
        f"{_N_TRAIN:,} training images, {_N_TEST:,} test images. Units are compared at length one;",
        "directions are the participation ratio of the covariance of their answers, before pooling.",
    ]
    write_table("images_hard_and_soft", "Hard and soft rule in the second layer", header, rows, notes=notes)


if __name__ == "__main__":
    main()
