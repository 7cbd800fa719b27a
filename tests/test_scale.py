"""Memory that runs out, devices that an engine assigns, memory maps that must not be written to."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_brm import AdversarialScorer, PowerLawSpectrum, RegularizedClassifier, WTAEncoder
from sklearn_brm._base import resolve_device
from sklearn_brm._classifier import _perceptron, _training
from sklearn_brm._encoder import _estimator as encoder_module
from sklearn_brm._memory import with_smaller_batches
from sklearn_brm.functional.layers import Affine

OUT_OF_MEMORY = "ran out of memory and starts again with {} rows"


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


def limited(function, most_rows, rows=lambda *args: len(args[0])):
    """Return `function` on a device whose memory holds so many rows at once."""

    def run(*args, **kwargs):
        if rows(*args) > most_rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return function(*args, **kwargs)

    return run


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        MemoryError("Unable to allocate 8.00 GiB"),
    ],
    ids=lambda error: str(error)[:12],
)
def test_batches_are_halved_until_they_fit(error):
    tried = []

    def run(batch_size):
        tried.append(batch_size)
        if batch_size > 3:
            raise error
        return "done"

    with pytest.warns(RuntimeWarning, match="Encoder ran out of memory") as told:
        assert with_smaller_batches("Encoder", run, 10) == "done"
    assert tried == [10, 5, 2]
    assert [f"again with {n} rows" in str(warning.message) for n, warning in zip((5, 2), told)] == [
        True,
        True,
    ]


def test_memory_that_does_not_hold_one_row_is_an_error():
    def run(batch_size):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with (
        pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"),
        pytest.warns(RuntimeWarning, match="starts again with 1 rows"),
    ):
        with_smaller_batches("Encoder", run, 2)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def run(batch_size):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        with_smaller_batches("Encoder", run, 8)


def test_an_encoder_out_of_memory_learns_what_half_the_batch_learns(digits, monkeypatch):
    X, _ = digits
    encoder = partial(WTAEncoder, 10, max_iter=20, device="cpu", random_state=0)
    expected = encoder(batch_size=25).fit(X).components_
    step = limited(encoder_module._STEPS["minibatch"], 30, rows=lambda layer, batch, *rest: len(batch))
    monkeypatch.setitem(encoder_module._STEPS, "minibatch", step)
    with pytest.warns(RuntimeWarning, match="WTAEncoder " + OUT_OF_MEMORY.format(25)):
        found = encoder(batch_size=50).fit(X)
    np.testing.assert_array_equal(found.components_, expected)
    assert found.batch_size == 50


def test_an_encoder_out_of_memory_in_a_stream_and_in_transform(digits, monkeypatch):
    X, _ = digits
    encoder = partial(WTAEncoder, 10, device="cpu", random_state=0)
    expected = encoder(batch_size=25).partial_fit(X[:100]).partial_fit(X[100:])
    features = expected.transform(X)
    step = limited(encoder_module._STEPS["minibatch"], 30, rows=lambda layer, batch, *rest: len(batch))
    monkeypatch.setitem(encoder_module._STEPS, "minibatch", step)
    n_rows = 512
    monkeypatch.setattr(encoder_module, "_TRANSFORM_ROWS", n_rows)
    monkeypatch.setattr(encoder_module, "forward", limited(encoder_module.forward, n_rows - 1))
    found = encoder(batch_size=50)
    for chunk in (X[:100], X[100:]):
        with pytest.warns(RuntimeWarning, match=OUT_OF_MEMORY.format(25)):
            found.partial_fit(chunk)
    np.testing.assert_array_equal(found.components_, expected.components_)
    assert found.n_updates_ == expected.n_updates_
    with pytest.warns(RuntimeWarning, match=OUT_OF_MEMORY.format(n_rows // 2)):
        np.testing.assert_allclose(found.transform(np.tile(X, (3, 1)))[-300:], features, rtol=1e-12)


def test_a_classifier_out_of_memory_learns_what_half_the_batch_learns(digits, monkeypatch):
    classifier = partial(RegularizedClassifier, (10,), max_iter=3, tol=None, device="cpu", random_state=0)
    expected = classifier(batch_size=32, penalty="l2").fit(*digits)
    monkeypatch.setattr(_training, "backpropagate", limited(_training.backpropagate, 40))
    with pytest.warns(RuntimeWarning, match="RegularizedClassifier " + OUT_OF_MEMORY.format(32)):
        found = classifier(batch_size=64, penalty="l2").fit(*digits)
    for coef, wanted in zip(found.coefs_, expected.coefs_):
        np.testing.assert_array_equal(coef, wanted)
    assert found.loss_curve_ == expected.loss_curve_


def test_a_classifier_out_of_memory_in_a_stream_and_in_predict(digits, monkeypatch):
    X, y = digits
    classifier = partial(RegularizedClassifier, (10,), device="cpu", random_state=0)
    expected = classifier(batch_size=32).partial_fit(X[:100], y[:100], classes=range(10))
    expected.partial_fit(X[100:], y[100:])
    scores = expected.decision_function(X)
    monkeypatch.setattr(_training, "backpropagate", limited(_training.backpropagate, 40))
    forward = limited(Affine.forward, 200, rows=lambda layer, rows: len(rows))
    monkeypatch.setattr(Affine, "forward", forward)
    monkeypatch.setattr(_perceptron, "_PREDICTION_ROWS", 256)
    found = classifier(batch_size=64)
    for rows in (slice(100), slice(100, None)):
        with pytest.warns(RuntimeWarning, match=OUT_OF_MEMORY.format(32)):
            found.partial_fit(X[rows], y[rows], classes=range(10))
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    with pytest.warns(RuntimeWarning, match="RegularizedClassifier " + OUT_OF_MEMORY.format(128)):
        np.testing.assert_allclose(found.decision_function(X), scores, rtol=1e-12)


@pytest.mark.parametrize("attack", ["pgd", "black_box"])
def test_a_scorer_out_of_memory_finds_the_same(attack, digits, monkeypatch):
    X, y = digits
    model = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(X, y)
    options = {"eps": 1.5, "n_steps": 5, "max_queries": 20, "max_samples": 100, "device": "cpu"}
    expected = AdversarialScorer(attack=attack, batch_size=25, random_state=0, **options)(model, X, y)
    predict = limited(LogisticRegression.predict, 30, rows=lambda model, rows: len(rows))
    monkeypatch.setattr(LogisticRegression, "predict", predict)
    scorer = AdversarialScorer(attack=attack, batch_size=50, random_state=0, **options)
    with pytest.warns(RuntimeWarning, match="AdversarialScorer " + OUT_OF_MEMORY.format(25)):
        assert scorer(model, X, y) == expected
    assert 0 < expected < 1


def test_auto_takes_the_first_of_the_devices_that_the_engine_left_visible(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # Without an index torch means its current device, which is number 0 of CUDA_VISIBLE_DEVICES.
    assert resolve_device("WTAEncoder", "auto") == torch.device("cuda")


def test_importing_the_package_does_not_start_cuda():
    # An engine may set CUDA_VISIBLE_DEVICES until CUDA starts, and not after.
    code = (
        "import torch, sklearn_brm\n"
        "sklearn_brm.WTAEncoder(device='cpu'), sklearn_brm.AdversarialScorer(device='cpu')\n"
        "assert not torch.cuda.is_initialized()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_auto_takes_the_gpu_that_is_visible():
    code = (
        "import torch, numpy as np\n"
        "from sklearn_brm import WTAEncoder\n"
        "X = np.random.RandomState(0).uniform(size=(200, 8)).astype('float32')\n"
        "WTAEncoder(8, random_state=0).fit(X)\n"
        "assert torch.cuda.device_count() == 1 and torch.cuda.max_memory_allocated(0) > 0"
    )
    last = str(torch.cuda.device_count() - 1)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": last},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_out_of_memory_falls_back_to_smaller_batches():
    X = np.random.RandomState(0).uniform(size=(40_000, 256)).astype(np.float32)
    encoder = WTAEncoder(20_000, max_iter=1, batch_size=40_000, device="cuda", random_state=0)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 2**30) / total))
    try:
        with pytest.warns(RuntimeWarning, match="WTAEncoder ran out of memory"):
            encoder.fit(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(encoder.components_).all()


@pytest.fixture
def mapped_digits(digits, tmp_path):
    arrays = []
    for name, array in zip("Xy", digits):
        np.save(tmp_path / f"{name}.npy", array)
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return arrays


ESTIMATORS = [
    WTAEncoder(10, max_iter=20, random_state=0),
    PowerLawSpectrum(window=(1, 20)),
    RegularizedClassifier((10,), max_iter=3, tol=None, random_state=0),
    RegularizedClassifier((10,), max_iter=3, tol=None, standardize=False, random_state=0),
]


@pytest.mark.filterwarnings("ignore::sklearn_brm.SpectrumWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_read_only_memory_map_gives_what_the_array_gives(estimator, method, digits, mapped_digits):
    options = {"classes": range(10)} if hasattr(estimator, "predict") and method == "partial_fit" else {}
    answers = []
    for X, y in (digits, mapped_digits):
        fitted = getattr(clone(estimator), method)(X, y, **options)
        answers.append(
            fitted.predict_proba(X) if options or hasattr(fitted, "predict") else fitted.transform(X)
        )
    # Matrix products round differently where the rows lie differently in memory.
    np.testing.assert_allclose(*answers, rtol=1e-9, atol=1e-12)
    assert not mapped_digits[0].flags.writeable


def test_the_scorer_takes_a_read_only_memory_map(digits, mapped_digits):
    model = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(*digits)
    scorer = AdversarialScorer(eps=1, attack="pgd", n_steps=5, max_samples=50, random_state=0)
    assert scorer(model, *mapped_digits) == scorer(model, *digits)
