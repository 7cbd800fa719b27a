"""What every test shares: one torch thread, a backend without a screen, and the optional image data."""

import os
import random
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

torch.set_num_threads(1)

IMAGE_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def image_folder():
    """Folder with the CIFAR-10 and MNIST archives; the test is skipped where it is absent."""
    if not (IMAGE_FOLDER / "cifar10_jpeg_test.npz").exists():
        pytest.skip(f"needs the image archives, not found in {IMAGE_FOLDER}")
    return IMAGE_FOLDER


class FlatAtZero(ClassifierMixin, BaseEstimator):
    """Class 1 where the first feature is large, which its gradient at 0 does not tell."""

    def __init__(self, slope=0.0):
        self.slope = slope

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X[:, 0] ** 2 + self.slope * X[:, 1] - 0.2

    def predict(self, X):
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def _as_torch(self, *, device, dtype):
        return lambda x: torch.stack([0 * x[:, 0], self.decision_function(x)], dim=1)


@pytest.fixture
def flat_at_zero():
    """Class of a model whose gradient at 0 is zero, or tiny."""
    return FlatAtZero


def _global_state():
    kind, keys, *position = np.random.get_state()
    return (
        kind,
        keys.tobytes(),
        *position,
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.fixture(scope="session")
def global_state():
    """Function that returns the state of the global random generators and torch's global settings."""
    return _global_state


@pytest.fixture
def global_state_unchanged():
    """Fail the test if it moves a global random generator or changes a global torch setting."""
    before = _global_state()
    yield
    assert _global_state() == before


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in a random order")


def pytest_collection_modifyitems(config, items):
    """Shuffle: no test may need another to have run before it."""
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


@pytest.fixture
def on_the_processor(monkeypatch):
    """Let "auto" mean the processor, where the same bits are promised; a GPU adds up in any order."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
