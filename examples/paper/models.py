"""The images as the paper takes them, and its five models as unfitted estimators."""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sklearn_brm import WTAEncoder, paper_recipe, register_torch_function
from sklearn_brm.datasets import fetch_cifar10
from sklearn_brm.functional.schedules import ExponentialSchedule, StepSchedule

NORM = 3
IMAGE_SHAPE = {"cifar10": (32, 32, 3), "digits": (8, 8)}
TITLE = {"cifar10": "CIFAR-10", "digits": "scikit-learn's digits, 8 x 8 pixels"}

# With fewer epochs than these the paper's schedules are squeezed into those there are. The paper goes on for
# 840 epochs more at a hundredth of the rate.
SCHEDULED_EPOCHS = 160
_STEPS, _FACTORS = (30, 90, 120, SCHEDULED_EPOCHS), (0.5, 0.2, 0.1, 0.01)
_SPECTRAL_START, _SPECTRAL_DECAY = 90, 30


def load_images(data, path=None):
    """Return X_train, y_train, X_test, y_test with every row divided by its 3-norm, as in the paper.

    Parameters
    ----------
    data : {"cifar10", "digits"}
    path : str or None
        Where CIFAR-10 is; None looks into scikit-learn's cache.
    """
    if data == "digits":
        X, y = load_digits(return_X_y=True)
        rows = train_test_split(X.astype(np.float32), y, test_size=0.4, random_state=0, stratify=y)
        X_train, X_test, y_train, y_test = rows
    else:
        (X_train, y_train), (X_test, y_test) = (fetch_cifar10(path, split=s) for s in ("train", "test"))
    return scaled(X_train), y_train, scaled(X_test), y_test


def scaled(X):
    """Divide every row by its 3-norm."""
    return X / np.linalg.norm(X, ord=NORM, axis=1, keepdims=True)


def mirrored(X):
    """Return CIFAR-10 images with left and right exchanged; arrays of NumPy and of torch."""
    pixels = np.arange(X.shape[1]).reshape(IMAGE_SHAPE["cifar10"])
    return X[:, pixels[:, ::-1].ravel()]


def pooled(X):
    """Return CIFAR-10 images with every square of 2 x 2 pixels averaged; arrays of NumPy and of torch.

    No pixel of the result moves further than the pixels of the image did: a radius in the maximum norm means
    the same before and after.
    """
    return X.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)).reshape(len(X), -1)


register_torch_function(mirrored, mirrored)
register_torch_function(pooled, pooled)


def make_model(name, settings, verbose=0):
    """Return an unfitted estimator: the settings of the paper, squeezed into the epochs there are."""
    common = {"random_state": settings.seed, "verbose": verbose}
    if name == "KH":
        return kh_model(settings, verbose)
    epochs, batch_size = settings.epochs, settings.batch_size
    if name == "SpecReg":
        epochs, batch_size = settings.spectral_epochs, settings.large_batch_size
    return paper_recipe(
        name,
        hidden_layer_sizes=(settings.n_units,),
        max_iter=epochs,
        batch_size=batch_size,
        schedule=squeezed_schedule(name, epochs),
        **common,
    )


def kh_model(settings, verbose=0, **encoder):
    """Return the winner-take-all model: local learning, then a linear classifier.

    With fewer epochs than published, the classifier sees standardised features, which it learns from faster.
    """
    is_published = settings.head_epochs == 1000
    learning = {
        "norm": NORM,
        "rank": 2,
        "inhibition": 0.4,
        "learning_rate": 0.02,
        "power": 4.5,
        "max_iter": settings.encoder_epochs,
        "batch_size": settings.large_batch_size,
        "init": settings.init,
        "normalize": False,
        "n_iter_no_change": None,
        "revive": settings.init != "normal",
    }
    common = {"random_state": settings.seed, "verbose": verbose}
    head = paper_recipe(
        "KH",
        max_iter=settings.head_epochs,
        batch_size=settings.large_batch_size,
        standardize=not is_published,
        **common,
    )
    return Pipeline(
        [("encode", WTAEncoder(settings.n_units, **learning | encoder, **common)), ("classify", head)]
    )


def squeezed_schedule(name, epochs):
    """Return the paper's schedule of a model, squeezed where there are fewer epochs than its steps need."""
    squeeze = min(epochs / SCHEDULED_EPOCHS, 1)
    if name == "SpecReg":
        return ExponentialSchedule(
            time_constant=_SPECTRAL_DECAY * squeeze / epochs, start=round(_SPECTRAL_START * squeeze) / epochs
        )
    return StepSchedule(shares=tuple(round(epoch * squeeze) / epochs for epoch in _STEPS), factors=_FACTORS)


def initial_perceptron(settings, X, y):
    """Return the perceptron before training: one epoch at a rate too small to change anything."""
    sizes = {"hidden_layer_sizes": (settings.n_units,), "max_iter": 1, "batch_size": len(X)}
    return paper_recipe("BP", **sizes, learning_rate=1e-20, random_state=settings.seed).fit(X, y)


def fit(model, X, y):
    """Fit; that some units have not converged is a result here, which the report shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def learned_units(model):
    """Return the encoder of a winner-take-all model."""
    return model.named_steps["encode"]
