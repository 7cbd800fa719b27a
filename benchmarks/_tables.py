"""Tables to choose defaults on, and others to judge them on: shipped with scikit-learn, or generated."""

import sys

import numpy as np
import pandas as pd
from _common import HERE
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
    make_blobs,
    make_circles,
    make_classification,
    make_gaussian_quantiles,
    make_hastie_10_2,
    make_moons,
)
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

sys.path.insert(0, str(HERE.parent / "examples"))
import tables


def encoded(X, y):
    """Return a table as an array: numbers with medians for what is missing, one column for each category."""
    codes = X.select_dtypes(["category"]).apply(lambda column: column.cat.codes)
    words = X.select_dtypes(["object", "string"])
    numbers = X.drop(columns=[*codes, *words]).astype(float)
    parts = [SimpleImputer(strategy="median").fit_transform(numbers), codes.to_numpy()]
    if words.shape[1]:
        parts.append(OneHotEncoder(sparse_output=False).fit_transform(words.fillna("missing")))
    return np.hstack(parts).astype(float), pd.factorize(y)[0]


def made(n_samples, n_features, n_informative, *, seed=0, **shape):
    return make_classification(
        n_samples, n_features, n_informative=n_informative, random_state=seed, **{"n_redundant": 0, **shape}
    )


def binned(values, n_bins):
    """Return in which of so many parts of equal size each value lies."""
    inner = np.quantile(values, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(inner, values)


def two_units():
    """Half of the columns in units of 1e-6, half in units of 1e6."""
    X, y = made(1000, 20, 10, seed=5)
    return X * np.where(np.arange(20) % 2, 1e6, 1e-6), y


def many_units():
    """Columns in units from 1e-6 to 1e6, three classes."""
    X, y = made(1000, 12, 8, n_classes=3, seed=31)
    return X * 10.0 ** np.random.default_rng(31).uniform(-6, 6, 12), y


def heavy_tails(n_samples, seed, n_classes):
    """Columns whose logarithms decide; a few values are a thousand times the usual ones."""
    X, y = made(n_samples, 10, 6, n_classes=n_classes, seed=seed)
    return np.exp(X * 1.5 / X.std(axis=0)), y


def one_hot(n_samples, seed, n_numbers, share=None):
    """Five columns of ten categories each, one-hot, and a few numbers; labels are drawn from their odds."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(10, (n_samples, 5), p=np.arange(10, 0, -1) / 55)
    effects, numbers = rng.normal(size=(5, 10)), rng.normal(size=(n_samples, n_numbers))
    score = effects[np.arange(5), codes].sum(axis=1) + numbers.sum(axis=1)
    score += 0.5 * rng.normal(size=n_samples)
    return np.hstack([np.eye(10)[codes].reshape(n_samples, 50), numbers]), (
        score > np.quantile(score, 1 - share if share else 0.5)
    ).astype(int)


def checkerboard():
    """Two columns on a board of 4 x 4 fields, and two that say nothing."""
    rng = np.random.default_rng(3)
    X = rng.uniform(0, 4, (1000, 4))
    return X, (X[:, :2].astype(int).sum(axis=1) % 2)


def exclusive_or():
    """Whether an odd number of three columns is positive, among eight."""
    X = np.random.default_rng(4).normal(size=(1000, 8))
    return X, ((X[:, :3] > 0).sum(axis=1) % 2)


def spirals():
    """Two arms of a spiral, with noise."""
    rng = np.random.default_rng(33)
    t, y = np.sqrt(rng.uniform(0.05, 1, 1000)) * 3 * np.pi, np.arange(1000) % 2
    arms = np.column_stack([t * np.cos(t + np.pi * y), t * np.sin(t + np.pi * y)])
    return arms + rng.normal(0, 0.6, (1000, 2)), y


def archipelago():
    """Twenty overlapping groups in six columns, of five classes."""
    X, group = make_blobs(1500, 6, centers=20, cluster_std=2.5, random_state=34)
    return X, group % 5


def linnerud():
    X, Y = load_linnerud(return_X_y=True)
    return X, binned(Y[:, 0], 2)


def diabetes(n_bins):
    X, y = load_diabetes(return_X_y=True)
    return X, binned(y, n_bins)


# The seven of these that are said to have lost before: wine, digits, 2000 x 20, blobs, 1000 x 200, two units
# and 50,000 x 20.
CHOOSING = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "diabetes, 2 bins": lambda: diabetes(2),
    "linnerud, 2 bins": linnerud,
    "credit": lambda: encoded(*tables.credit()),
    "2000 x 20": lambda: made(2000, 20, 10, n_redundant=5, seed=0),
    "2000 x 20, 2 informative": lambda: made(2000, 20, 2, n_redundant=2, seed=1),
    "1000 x 200": lambda: made(1000, 200, 20, n_redundant=20, seed=2),
    "two units": two_units,
    "noisy labels": lambda: made(1000, 15, 8, flip_y=0.3, seed=6),
    "ten classes": lambda: made(2000, 20, 12, n_classes=10, n_clusters_per_class=1, seed=7),
    "100 x 10": lambda: made(100, 10, 5, seed=8),
    "120 x 500": lambda: made(120, 500, 10, seed=9),
    "1 in 20": lambda: made(1500, 15, 8, weights=[0.95], flip_y=0, seed=10),
    "blobs": lambda: make_blobs(1000, 10, centers=5, cluster_std=6.0, random_state=11),
    "moons": lambda: make_moons(600, noise=0.3, random_state=12),
    "gaussian quantiles": lambda: make_gaussian_quantiles(
        n_samples=1000, n_features=5, n_classes=2, random_state=13
    ),
    "hastie": lambda: make_hastie_10_2(2000, random_state=14),
    "heavy tails": lambda: heavy_tails(1000, 15, 2),
    "one-hot": lambda: one_hot(1000, 16, 2),
    "checkerboard": checkerboard,
    "exclusive or": exclusive_or,
    "50,000 x 20": lambda: made(50_000, 20, 10, n_redundant=5, seed=3),
}

JUDGING = {
    "measurements": lambda: encoded(*tables.measurements()),
    "logins": lambda: encoded(*tables.logins(5000)),
    "diabetes, 3 bins": lambda: diabetes(3),
    "circles": lambda: make_circles(600, noise=0.15, factor=0.6, random_state=30),
    "many units": many_units,
    "1500 x 15, 3 classes": lambda: made(1500, 15, 5, n_redundant=8, n_classes=3, seed=32),
    "spirals": spirals,
    "archipelago": archipelago,
    "heavy tails, 3 classes": lambda: heavy_tails(1200, 35, 3),
    "400 x 100, one-hot and numbers": lambda: one_hot(400, 36, 50, share=0.3),
}
