"""What every test shares: one torch thread, a backend without a screen, and the optional image data."""

import os
import random
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

IMAGE_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def image_folder():
    """Folder with the CIFAR-10 and MNIST archives; the test is skipped where it is absent."""
    if not (IMAGE_FOLDER / "cifar10_jpeg_test.npz").exists():
        pytest.skip(f"needs the image archives, not found in {IMAGE_FOLDER}")
    return IMAGE_FOLDER


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
