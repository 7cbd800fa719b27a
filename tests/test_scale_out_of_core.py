"""Data that do not fit: files larger than the memory, Dask arrays, DataLoaders, and what a stream costs."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from sklearn_brm import PowerLawSpectrum, RegularizedClassifier, SpectrumWarning, WTAEncoder

CHUNK_SIZES = [1, 7, 50, 300]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def blocks(n_rows, size):
    return [slice(start, start + size) for start in range(0, n_rows, size)]


LIMITED_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from sklearn_brm import PowerLawSpectrum, RegularizedClassifier, WTAEncoder

torch.set_num_threads(1)
X, y = (np.load(path, mmap_mode="r") for path in sys.argv[1:])
estimators = [
    WTAEncoder(20, device="cpu", random_state=0),
    PowerLawSpectrum(window=(1, 50), device="cpu"),
    RegularizedClassifier((), device="cpu", random_state=0),
]

def learn(chunk):
    encoder, spectrum, classifier = estimators
    encoder.partial_fit(X[chunk])
    spectrum.partial_fit(X[chunk])
    classifier.partial_fit(X[chunk], y[chunk], classes=[0, 1])

# Libraries and thread pools are loaded by the first chunk; what comes after may take a quarter of the file.
learn(slice(0, 1000))
estimators[1].measure()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
allowed = int(status["VmData"].split()[0]) * 1024 + X.nbytes // 4
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
try:
    np.array(X)
    sys.exit("the whole file fits into the memory allowed: the test proves nothing")
except MemoryError:
    pass
for start in range(1000, len(X), 1000):
    learn(slice(start, start + 1000))
exponent = estimators[1].measure().exponent_
print(estimators[1].n_samples_seen_, exponent, estimators[2].score(X[-2000:], y[-2000:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_files_larger_than_the_memory_allowed_are_learned_from(tmp_path):
    rng = np.random.default_rng(0)
    n_rows, n_features = 100_000, 256
    scales = (np.arange(1, n_features + 1) ** -0.5).astype(np.float32)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (n_rows, n_features))
    for rows in blocks(n_rows, 10_000):
        X[rows] = rng.standard_normal((10_000, n_features), dtype=np.float32) * scales
    X.flush()
    np.save(tmp_path / "y.npy", (X[:, 0] > 0).astype(int))
    run = subprocess.run(
        [sys.executable, "-c", LIMITED_MEMORY, tmp_path / "X.npy", tmp_path / "y.npy"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    n_seen, exponent, accuracy = map(float, run.stdout.split())
    assert n_seen == n_rows
    # Variances fall as 1/n by construction.
    assert exponent == pytest.approx(1, abs=0.03)
    assert accuracy > 0.95


@pytest.mark.parametrize("size", CHUNK_SIZES)
def test_chunks_of_any_size_are_learned_from(size, digits):
    X, y = digits[0][:300], digits[1][:300]
    encoder = WTAEncoder(10, random_state=0)
    classifier = RegularizedClassifier((), random_state=0)
    spectrum = PowerLawSpectrum(window=(1, 20))
    for rows in blocks(100 if size == 1 else len(X), size):
        encoder.partial_fit(X[rows])
        classifier.partial_fit(X[rows], y[rows], classes=range(10))
    for rows in blocks(len(X), size):
        spectrum.partial_fit(X[rows])
    assert encoder.n_wins_.sum() == (100 if size == 1 else len(X))
    assert np.isfinite(encoder.transform(X)).all()
    assert classifier.score(X, y) > 0.2
    with pytest.warns(SpectrumWarning, match="constant"):
        spectrum.measure()
    assert spectrum.exponent_ == pytest.approx(_exponent_of_all(X), rel=1e-9)


def _exponent_of_all(X):
    with pytest.warns(SpectrumWarning, match="constant"):
        return PowerLawSpectrum(window=(1, 20)).fit(X).exponent_


def test_blocks_of_a_dask_array_give_what_slices_of_the_array_give(digits):
    da = pytest.importorskip("dask.array", reason="needs the extra sklearn-brm[dask]")
    X, y = digits
    lazy_X, lazy_y = da.from_array(X, chunks=(400, -1)), da.from_array(y, chunks=400)
    encoders = [WTAEncoder(10, random_state=0) for _ in range(2)]
    classifiers = [RegularizedClassifier((), random_state=0) for _ in range(2)]
    for block, labels in zip(lazy_X.blocks, lazy_y.blocks):
        encoders[0].partial_fit(block)
        classifiers[0].partial_fit(block, labels, classes=range(10))
    for rows in blocks(len(X), 400):
        encoders[1].partial_fit(X[rows])
        classifiers[1].partial_fit(X[rows], y[rows], classes=range(10))
    np.testing.assert_allclose(encoders[0].components_, encoders[1].components_, rtol=1e-9)
    np.testing.assert_allclose(classifiers[0].coefs_[0], classifiers[1].coefs_[0], rtol=1e-9)


def test_dask_ml_learns_from_blocks(digits):
    wrappers = pytest.importorskip("dask_ml.wrappers", reason="needs dask-ml")
    da = pytest.importorskip("dask.array")
    X, y = digits
    lazy_X, lazy_y = da.from_array(X, chunks=(400, 64)), da.from_array(y, chunks=400)
    wrapped = wrappers.Incremental(RegularizedClassifier((), random_state=0), shuffle_blocks=False)
    wrapped.fit(lazy_X, lazy_y, classes=list(range(10)))
    expected = RegularizedClassifier((), random_state=0)
    for rows in blocks(len(X), 400):
        expected.partial_fit(X[rows], y[rows], classes=range(10))
    np.testing.assert_allclose(wrapped.estimator_.coefs_[0], expected.coefs_[0], rtol=1e-9)


def test_batches_of_a_data_loader_give_what_arrays_give(digits):
    X, y = digits[0][:300], digits[1][:300]
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=64)
    encoders = [WTAEncoder(10, random_state=0) for _ in range(2)]
    spectra = [PowerLawSpectrum(window=(1, 20)) for _ in range(2)]
    classifiers = [RegularizedClassifier((), random_state=0) for _ in range(2)]
    for tensors in loader:
        for i, (rows, labels) in enumerate([tensors, (t.numpy() for t in tensors)]):
            encoders[i].partial_fit(rows)
            spectra[i].partial_fit(rows)
            classifiers[i].partial_fit(rows, labels, classes=range(10))
    np.testing.assert_allclose(encoders[0].components_, encoders[1].components_, rtol=1e-9)
    np.testing.assert_allclose(classifiers[0].coefs_[0], classifiers[1].coefs_[0], rtol=1e-9)
    with pytest.warns(SpectrumWarning, match="constant"):
        exponents = [spectrum.measure().exponent_ for spectrum in spectra]
    assert exponents[0] == pytest.approx(exponents[1], rel=1e-9)


def shuffled_stream(n_rows, n_epochs, seed):
    """Yield chunks of rows in a new random order per epoch."""
    rng = np.random.RandomState(seed)
    for _ in range(n_epochs):
        order = rng.permutation(n_rows)
        yield from (order[rows] for rows in blocks(n_rows, 300))


def accuracy_of_features(encoder, X_train, X_test, y_train, y_test):
    features = encoder.transform(X_train)
    head = LogisticRegression(C=10, max_iter=300).fit(features / features.std(), y_train)
    return head.score(encoder.transform(X_test) / features.std(), y_test)


def encoder_accuracies(X_train, X_test, y_train, y_test, seed):
    encoder = partial(WTAEncoder, 60, batch_size=50, random_state=seed)
    streamed = encoder()
    for rows in shuffled_stream(len(X_train), 20, seed):
        streamed.partial_fit(X_train[rows])
    fitted = encoder(max_iter=20).fit(X_train)
    return [accuracy_of_features(e, X_train, X_test, y_train, y_test) for e in (fitted, streamed)]


def classifier_accuracies(X_train, X_test, y_train, y_test, seed):
    classifier = partial(RegularizedClassifier, (), penalty="l2", batch_size=50, tol=None, random_state=seed)
    streamed = classifier()
    for rows in shuffled_stream(len(X_train), 20, seed):
        streamed.partial_fit(X_train[rows], y_train[rows], classes=range(10))
    fitted = classifier(max_iter=20).fit(X_train, y_train)
    return [model.score(X_test, y_test) for model in (fitted, streamed)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("accuracies", [encoder_accuracies, classifier_accuracies])
def test_a_shuffled_stream_is_as_good_as_fit_within_the_noise_of_seeds(accuracies, digits):
    X, y = digits
    runs = np.array([accuracies(*train_test_split(X, y, random_state=seed), seed=seed) for seed in range(5)])
    noise = runs[:, 0].std(ddof=1)
    assert 0 < noise < 0.02
    assert abs(runs[:, 1].mean() - runs[:, 0].mean()) < noise
    assert runs.mean() > 0.9
