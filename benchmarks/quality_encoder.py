"""Accuracy of a linear classifier on the features of WTAEncoder, and on features found otherwise.

Run from the root of the repository with ``python benchmarks/quality_encoder.py mnist cifar10 batch_sizes
few_columns``; each task writes its table to ``benchmarks/results/``. The images are needed for the first two.
"""

import argparse
import time
import warnings
from functools import partial

import numpy as np
import torch
from _common import have_images, load_cifar10, load_mnist, write_table
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_circles,
    make_classification,
    make_moons,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from sklearn_brm import RegularizedClassifier, WTAEncoder

N_UNITS, HEAD_EPOCHS = 2000, 60
HEADER = ["features", "power", "epochs", "alive and converged", "train accuracy", "test accuracy", "fit (s)"]
BATCH_SIZES = (32, 256, 1000, 4096)
TABLES = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}


def linear_head():
    """Return the head that all features get: linear, AdamW, with a rate that falls linearly."""
    return RegularizedClassifier(
        hidden_layer_sizes=(),
        optimizer=partial(torch.optim.AdamW, weight_decay=0.1),
        learning_rate=3e-3,
        schedule="linear",
        batch_size=500,
        max_iter=HEAD_EPOCHS,
        tol=None,
        random_state=0,
    )


def k_means_encoder(X, norm, **options):
    """Return an encoder whose units are the centres of k-means on the scaled rows."""
    scaled = X / np.linalg.norm(X, ord=norm, axis=1, keepdims=True)
    centres = MiniBatchKMeans(N_UNITS, batch_size=4096, n_init=1, init="random", random_state=0).fit(scaled)
    return WTAEncoder(N_UNITS, init=centres.cluster_centers_, max_iter=0, norm=norm, **options)


def report(name, encoder, train, test):
    """Fit an encoder and a head on top; return the line of the table."""
    start = time.perf_counter()
    encoder = encoder(train[0]) if callable(encoder) else encoder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        encoder.fit(train[0])
    seconds = time.perf_counter() - start
    features = encoder.transform(train[0])
    head = linear_head().fit(features, train[1])
    good = f"{(encoder.converged_ & ~encoder.dead_).mean():.3f}" if encoder.n_iter_ else ""
    line = [
        name,
        encoder.power,
        encoder.n_iter_,
        good,
        f"{head.score(features, train[1]):.4f}",
        f"{head.score(encoder.transform(test[0]), test[1]):.4f}",
        f"{seconds:.0f}",
    ]
    print(line, flush=True)
    return line


def image_table(name, title, train, test, learned, published, asked):
    """Compare the encoder with its baselines on one set of images."""
    output = {"norm": learned.get("norm", 3), "power": learned["power"]}
    fixed = {"random_state": 0, "max_iter": 0, **output}
    contestants = {
        "WTAEncoder": WTAEncoder(N_UNITS, random_state=0, **learned),
        "rows of the data, no learning": WTAEncoder(N_UNITS, **fixed),
        "k-means centres": partial(k_means_encoder, **output),
        "random Gaussian": WTAEncoder(N_UNITS, init="normal", **fixed),
        "published settings": WTAEncoder(N_UNITS, init="normal", revive=False, random_state=0, **published),
    }
    rows = [report(label, encoder, train, test) for label, encoder in contestants.items()]
    notes = [
        f"Asked of WTAEncoder: test accuracy at least {asked}, at least 0.95 of the units alive and",
        "converged.",
        f"WTAEncoder: {learned}. Published settings: {published}, N(0, 1) weights at the start.",
        f"All have {N_UNITS} units and the same linear head ({HEAD_EPOCHS} epochs of AdamW).",
    ]
    write_table(name, title, HEADER, rows, notes=notes)


def mnist():
    learned = {
        "norm": 2,
        "rank": 7,
        "inhibition": 0.3,
        "power": 5.0,
        "max_iter": 40,
        "batch_size": 500,
        "n_iter_no_change": None,
    }
    published = {"norm": 2, "rank": 2, "batch_size": 100, "max_iter": 40, "n_iter_no_change": None}
    image_table(
        "encoder_quality_mnist",
        "WTAEncoder on MNIST: accuracy of a linear head",
        load_mnist("train"),
        load_mnist("test"),
        learned,
        published,
        "0.98 in at most 50 epochs",
    )


def cifar10():
    learned = {"rank": 5, "power": 12.0, "max_iter": 20, "batch_size": 1000, "n_iter_no_change": None}
    published = {"batch_size": 1000, "max_iter": 20, "n_iter_no_change": None}
    image_table(
        "encoder_quality_cifar10",
        "WTAEncoder on CIFAR-10: accuracy of a linear head",
        load_cifar10("train"),
        load_cifar10("test"),
        learned,
        published,
        "0.50 in at most 100 epochs (published: 0.472 after 1000)",
    )


def fold_scores(X, y, scaler, **options):
    """Return the accuracy over 5 folds of scaler, encoder and head, and how many encoders warned."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    encoder = WTAEncoder(random_state=0, **options)
    head = RegularizedClassifier(hidden_layer_sizes=(), max_iter=200, tol=None, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        results = cross_validate(make_pipeline(scaler, encoder, head), X, y, cv=folds)
    n_warnings = len([w for w in caught if "units" in str(w.message)])
    scores = results["test_score"]
    return f"{scores.mean():.3f} ± {scores.std():.3f}" + (f" ({n_warnings} warnings)" if n_warnings else "")


def batch_sizes():
    data = {name: load(return_X_y=True) for name, load in TABLES.items()}
    if have_images():
        data["MNIST, 5000 rows"] = load_mnist("train", 5000)
    rows = []
    for name, (X, y) in data.items():
        scalers = {"standardised": StandardScaler(), "as it is": FunctionTransformer()}
        for how, scaler in scalers.items() if name in TABLES else [("as it is", FunctionTransformer())]:
            cells = [fold_scores(X, y, scaler, max_iter=0)]
            cells += [fold_scores(X, y, scaler, batch_size=batch_size) for batch_size in BATCH_SIZES]
            rows.append([f"{name}, {how}", *cells])
            print(rows[-1], flush=True)
    write_table(
        "encoder_quality_batch_sizes",
        "WTAEncoder with its defaults: accuracy over 5 folds by batch size",
        ["data", "no learning", *(f"batch {size}" for size in BATCH_SIZES)],
        rows,
        notes=["100 units and a linear RegularizedClassifier. Mean and standard deviation over the folds."],
    )


def narrow_tables():
    """Return tables with few columns by name."""
    classes = partial(make_classification, 600, n_redundant=0, class_sep=1.5, random_state=0)
    return {
        "iris, 4": load_iris(return_X_y=True),
        "moons, 2": make_moons(400, noise=0.2, random_state=0),
        "circles, 2": make_circles(400, noise=0.1, factor=0.5, random_state=0),
        "make_classification, 5": classes(n_features=5, n_informative=4, n_classes=3),
        "make_classification, 8": classes(n_features=8, n_informative=6, n_classes=4),
        "wine, 13": load_wine(return_X_y=True),
    }


def few_columns():
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scalers = {"standardised": StandardScaler(), "scaled to (0, 1)": MinMaxScaler()}
    encoders = [WTAEncoder(normalize=normalize, random_state=0) for normalize in (True, False, "auto")]
    rows = []
    for name, (X, y) in narrow_tables().items():
        for how, scaler in scalers.items():
            models = [
                make_pipeline(scaler, encoder, StandardScaler(), LogisticRegression(max_iter=1000))
                for encoder in ("passthrough", *encoders)
            ]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                scores = [cross_val_score(model, X, y, cv=folds).mean() for model in models]
            rows.append([f"{name}, {how}", *(f"{score:.3f}" for score in scores)])
            print(rows[-1], flush=True)
    write_table(
        "encoder_quality_few_columns",
        "WTAEncoder on tables of few columns: accuracy over 5 folds by what becomes of the length of a row",
        ["data, columns", "no encoder", "normalize=True", "normalize=False", '"auto", the default'],
        rows,
        notes=["100 units, StandardScaler and LogisticRegression on top."],
    )


def main():
    tasks = {task.__name__: task for task in (mnist, cifar10, batch_sizes, few_columns)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", choices=tasks)
    for task in parser.parse_args().tasks:
        tasks[task]()


if __name__ == "__main__":
    main()
