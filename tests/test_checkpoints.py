"""Trainings that are interrupted and go on from a checkpoint end with the bits of those that are not."""

import re
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sklearn_brm import RegularizedClassifier, WTAEncoder, paper_recipe
from sklearn_brm._checkpoints import Checkpoints
from sklearn_brm._classifier._training import Training
from sklearn_brm._encoder._learning import Learner
from sklearn_brm.functional.schedules import StepSchedule
from sklearn_brm.penalties import Jacobian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_EPOCHS = 6
X, y = load_digits(return_X_y=True)
X, y = X[:120] / 16, y[:120]
STEPS = StepSchedule(shares=(0.3, 0.7), factors=(0.5, 0.1))
COMMON = {"max_iter": N_EPOCHS, "batch_size": 20, "random_state": 0}
PERCEPTRON = COMMON | {"hidden_layer_sizes": (12,), "schedule": STEPS}
ENCODER = partial(WTAEncoder, n_components=12, **COMMON)
# Every kind of state that an epoch may depend on: the paper's models, and what else trains in epochs.
MODELS = {
    "BP": paper_recipe("BP", **PERCEPTRON),
    "L2": paper_recipe("L2", **PERCEPTRON),
    "JReg": paper_recipe("JReg", **PERCEPTRON),
    "SpecReg": paper_recipe("SpecReg", **PERCEPTRON),
    "head": paper_recipe("KH", **COMMON, standardize=False),
    "projected": RegularizedClassifier((12,), penalty=Jacobian("logits", n_projections=1), **COMMON),
    "sgd, watched": RegularizedClassifier((12,), optimizer="sgd", early_stopping=True, **COMMON),
    "torch's Adam": RegularizedClassifier((12,), optimizer=torch.optim.Adam, learning_rate=0.01, **COMMON),
    "at rest": RegularizedClassifier((12,), tol=1.0, n_iter_no_change=3, **COMMON),
    "noise": ENCODER(init="normal", norm=3, n_iter_no_change=None, revive=False, prune="mixture"),
    "revived": ENCODER(n_components=150, norm=3, n_iter_no_change=None),
    "rows": ENCODER(norm=3),
    "norm 2.5": ENCODER(norm=2.5),
    "soft": ENCODER(norm=2, normalize=False, rule="soft"),
    "sample": ENCODER(norm=2.5, rule="sample", max_iter=3),
    "short": ENCODER(norm=3, precision="bfloat16"),
    "quiet": ENCODER(norm=2, tol=100.0, n_iter_no_change=3, prune="mixture"),
}


def learned(model):
    """Return everything that fit leaves behind, as bytes of arrays or as it is."""
    if isinstance(model, Pipeline):
        return [learned(step) for _, step in model.steps]
    return as_bytes({key: value for key, value in vars(model).items() if key.endswith("_") or key == "_norm"})


def as_bytes(value):
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    if isinstance(value, dict):
        return {key: as_bytes(item) for key, item in value.items()}
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def fit(model, X=X, y=y):
    return clone(model).fit(X, y)


def checkpointed(model, folder, X=X, y=y, every=0.0):
    with Checkpoints(folder, every=every):
        return fit(model, X, y)


class Interruption:
    """Raise an exception in the middle of an epoch, counted over all trainings, and count epochs begun."""

    def __init__(self, monkeypatch, error=KeyboardInterrupt):
        self.error, self.epochs, self.strikes_in = error, 0, None
        for kind, name in ((Training, "_learn"), (Learner, "learn")):
            monkeypatch.setattr(kind, name, self.around(getattr(kind, name)))

    def around(self, learn):
        def interrupted(*args, **kwargs):
            self.epochs += 1
            result = learn(*args, **kwargs)
            if self.epochs == self.strikes_in:
                raise self.error
            return result

        return interrupted

    def interrupt(self, model, folder, epoch, **options):
        """Train until the end of an epoch, which is lost."""
        self.epochs, self.strikes_in = 0, epoch
        with pytest.raises(self.error):
            checkpointed(model, folder, **options)
        self.epochs, self.strikes_in = 0, None


@pytest.fixture
def interruption(monkeypatch):
    return Interruption(monkeypatch)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MODELS)
def test_an_interrupted_training_ends_with_the_same_bits(name, dtype, interruption, tmp_path):
    rows = X.astype(dtype)
    expected = fit(MODELS[name], rows)
    n_epochs = interruption.epochs
    assert n_epochs >= 3
    for epoch in (2, n_epochs):
        # What is written is the last whole epoch, however long ago the last file was.
        interruption.interrupt(MODELS[name], tmp_path, epoch, X=rows, every=1e9)
        assert len(list(tmp_path.glob("*.checkpoint"))) == 1
        found = checkpointed(MODELS[name], tmp_path, X=rows)
        assert learned(found) == learned(expected)
        assert interruption.epochs == n_epochs - epoch + 1
        assert not tmp_path.exists()


def test_a_training_in_many_pieces_ends_with_the_same_bits(interruption, tmp_path):
    expected = fit(MODELS["SpecReg"])
    for _ in range(N_EPOCHS - 1):
        interruption.interrupt(MODELS["SpecReg"], tmp_path, 2)
    assert learned(checkpointed(MODELS["SpecReg"], tmp_path)) == learned(expected)
    assert interruption.epochs == 1


@pytest.mark.parametrize(("encoder", "n_epochs"), [("noise", N_EPOCHS), ("quiet", 3)])
def test_a_pipeline_goes_on_in_its_head_without_learning_its_encoder_again(
    encoder, n_epochs, interruption, tmp_path
):
    model = Pipeline([("encode", MODELS[encoder]), ("classify", MODELS["head"])])
    expected = fit(model)
    assert model.named_steps["encode"].prune
    interruption.interrupt(model, tmp_path, n_epochs + 3)
    found = checkpointed(model, tmp_path)
    assert interruption.epochs == N_EPOCHS - 2
    assert learned(found) == learned(expected)


def test_a_killed_training_goes_on_from_the_last_file(monkeypatch, tmp_path):
    interruption = Interruption(monkeypatch, SystemExit)
    expected = fit(MODELS["JReg"])
    interruption.interrupt(MODELS["JReg"], tmp_path, 4, every=1e9)
    assert not list(tmp_path.iterdir())
    interruption.interrupt(MODELS["JReg"], tmp_path, 4)
    assert learned(checkpointed(MODELS["JReg"], tmp_path)) == learned(expected)
    assert interruption.epochs == 3


def test_a_block_knows_how_long_its_trainings_took_before(interruption, tmp_path, monkeypatch):
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("sklearn_brm._checkpoints.time.monotonic", lambda: next(now))
    interruption.interrupt(MODELS["BP"], tmp_path, 3)
    with Checkpoints(tmp_path) as kept:
        assert kept.seconds == 0
        fit(MODELS["BP"])
    assert 20 <= kept.seconds < 200


def changed(array):
    array = array.copy()
    array.flat[-1] = 1 - array.flat[-1]
    return array


@pytest.mark.parametrize(
    ("name", "settings", "rows", "labels", "says"),
    [
        ("BP", {"learning_rate": 0.002}, X, y, "learning_rate"),
        ("BP", {"max_iter": N_EPOCHS + 1}, X, y, "max_iter"),
        ("BP", {"schedule": StepSchedule((0.3, 0.7), (0.5, 0.2))}, X, y, "schedule"),
        ("BP", {"random_state": 1}, X, y, "first weights, random_state"),
        ("BP", {}, changed(X), y, "X, y or sample_weight"),
        ("BP", {}, X, y[::-1], "X, y or sample_weight"),
        ("JReg", {"alpha": 0.5}, X, y, "penalties"),
        ("noise", {"inhibition": 0.3}, X, y, "inhibition"),
        ("noise", {}, changed(X), y, "X"),
        ("noise", {"random_state": 1}, X, y, "first weights, random_state"),
    ],
)
def test_a_checkpoint_of_something_else_is_left_alone(
    name, settings, rows, labels, says, interruption, tmp_path
):
    interruption.interrupt(MODELS[name], tmp_path, 3)
    (path,) = tmp_path.iterdir()
    other = clone(MODELS[name]).set_params(**settings)
    expected = fit(other, rows, labels)
    with pytest.warns(RuntimeWarning, match=f"with another {re.escape(says)}: it is not used"):
        interruption.interrupt(other, tmp_path, 2, X=rows, y=labels)
    assert path.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert learned(checkpointed(other, tmp_path, rows, labels)) == learned(expected)


@pytest.mark.parametrize("size", [0, 10, 1000, -1])
def test_a_damaged_checkpoint_is_left_alone(size, interruption, tmp_path):
    interruption.interrupt(MODELS["L2"], tmp_path, 3)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.warns(RuntimeWarning, match="damaged"):
        found = checkpointed(MODELS["L2"], tmp_path)
    assert interruption.epochs == N_EPOCHS
    assert learned(found) == learned(fit(MODELS["L2"]))


def test_a_checkpoint_runs_no_code(interruption, tmp_path):
    model = RegularizedClassifier((3,), optimizer=torch.optim.SGD, learning_rate=0.1, **COMMON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "state_dict", lambda self: {"trap": Path.cwd})
        interruption.interrupt(model, tmp_path, 3)
    with pytest.warns(RuntimeWarning, match="damaged"):
        checkpointed(model, tmp_path)


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    model = RegularizedClassifier((3,), schedule=lambda share: 1.0, **COMMON)
    with pytest.raises(ValueError, match="schedule of RegularizedClassifier cannot be told from another"):
        checkpointed(model, tmp_path)


@pytest.mark.parametrize("name", ["BP", "noise"])
def test_without_a_block_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(MODELS[name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["chunk", "L-BFGS", "callbacks"])
def test_other_ways_to_train_leave_no_checkpoint(kind, tmp_path):
    with Checkpoints(tmp_path, every=0):
        if kind == "chunk":
            clone(MODELS["BP"]).partial_fit(X, y, classes=np.arange(10))
        elif kind == "L-BFGS":
            RegularizedClassifier((), penalty="l2", alpha=1e-3).fit(X, y)
        else:
            clone(MODELS["BP"]).set_params(callbacks=[Callback()]).fit(X, y)
        assert not list(tmp_path.iterdir())


def test_a_failed_training_leaves_what_it_had(monkeypatch, tmp_path):
    interruption = Interruption(monkeypatch, MemoryError)
    interruption.interrupt(clone(MODELS["BP"]).set_params(batch_size=1), tmp_path, 3)
    assert len(list(tmp_path.glob("*.checkpoint"))) == 1


def test_random_numbers_of_the_caller_go_on_where_they_were(interruption, tmp_path):
    def run(folder):
        random_state = np.random.RandomState(3)
        random_state.normal()
        with Checkpoints(folder, every=0), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            clone(MODELS["rows"]).set_params(random_state=random_state).fit(X)
        return random_state.normal(size=3).tolist()

    expected = run(tmp_path / "other")
    interruption.strikes_in, interruption.epochs = 4, 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "this")
    interruption.strikes_in = None
    assert run(tmp_path / "this") == expected


@pytest.mark.parametrize("name", ["KH", "BP", "L2", "JReg", "SpecReg"])
def test_the_models_of_the_paper_are_reproduced_in_pieces(name, interruption, tmp_path, monkeypatch):
    pytest.importorskip("skops")
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "examples")
    from paper import settings
    from reproduce_paper import Reproduction

    # The preset "paper", but for its size.
    small = {"data": "digits", "n_units": 15, "batch_size": 300, "large_batch_size": 300}
    epochs = dict.fromkeys(("epochs", "spectral_epochs", "encoder_epochs", "head_epochs"), 4)
    chosen = replace(settings.PRESETS["paper"], **small, **epochs)
    expected = Reproduction(chosen, tmp_path / "whole", verbose=0).model(name)
    n_epochs = interruption.epochs
    reproduction = Reproduction(chosen, tmp_path / "pieces", verbose=0)
    for epoch in (2, n_epochs - 1):
        interruption.epochs, interruption.strikes_in = 0, epoch
        with pytest.raises(KeyboardInterrupt):
            reproduction.model(name)
    interruption.epochs, interruption.strikes_in = 0, None
    assert learned(reproduction.model(name)) == learned(expected)
    assert interruption.epochs == 1
    left = {path.name.split("-")[0] for path in (tmp_path / "pieces" / "work").iterdir()}
    assert left == {name}
    assert not list((tmp_path / "pieces").rglob("*.checkpoint*"))
