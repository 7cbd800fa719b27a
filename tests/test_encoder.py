"""WTAEncoder as a citizen of scikit-learn and as a learner that converges."""

import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_blobs, make_circles
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import WTAEncoder
from sklearn_brm._encoder._pruning import mixture_order, noise_cut
from sklearn_brm._encoder._troubles import warn_of_dead, warn_of_diverged, warn_of_open
from sklearn_brm.functional.plasticity import PlasticLayer, Rule, lebesgue_norms, minibatch_step, sample_step


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def encoder(digits):
    return WTAEncoder(n_components=40, random_state=0).fit(digits[0])


@parametrize_with_checks(
    [
        WTAEncoder(),
        WTAEncoder(rule="sample", max_iter=2, power=None),
        WTAEncoder(init="spread", prune="mixture", precision="bfloat16", max_iter=20),
        WTAEncoder(rule="soft", max_iter=2),
    ]
)
def test_common_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        # The checks train on a handful of rows, and for as few epochs as they please.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


# Learning


def test_one_epoch_is_the_minibatch_rule_over_all_rows_with_a_rate_that_falls_per_update(digits):
    X = digits[0][:10]
    init = np.random.default_rng(0).normal(size=(6, 64))
    encoder = WTAEncoder(6, init=init, batch_size=4, max_iter=1, revive=False, random_state=3)
    with pytest.warns(ConvergenceWarning):
        encoder.fit(X)
    layer = PlasticLayer(torch.tensor(init), 3)
    rows = torch.tensor(X / np.linalg.norm(X, ord=3, axis=1, keepdims=True))
    order = np.random.RandomState(3).permutation(10)
    for update, batch in enumerate((order[:4], order[4:8], order[8:])):
        minibatch_step(layer, rows[batch], Rule(), 0.02 * (1 - update / 3))
    np.testing.assert_allclose(encoder.components_, layer.W.numpy(), rtol=1e-12, atol=1e-14)
    assert encoder.n_updates_ == 3


def test_partial_fit_on_chunks_is_the_rule_at_a_constant_rate_in_the_order_given(digits):
    X, init = digits[0][:10], np.random.default_rng(0).normal(size=(6, 64))
    encoder = WTAEncoder(6, init=init, rule="sample", learning_rate=0.1, normalize=False)
    for chunk in (X[:1], X[1:7], X[7:]):
        encoder.partial_fit(chunk / 16)
    assert encoder.n_updates_ == 10
    layer = PlasticLayer(torch.tensor(init), 3)
    sample_step(layer, torch.tensor(X / 16), Rule(), 0.1)
    np.testing.assert_allclose(encoder.components_, layer.W.numpy(), rtol=1e-10)
    assert encoder.n_wins_.sum() == 10


@pytest.mark.parametrize("init", ["rows", "normal", "spread"])
def test_the_soft_rule_starts_far_outside_of_the_radius_and_comes_in(digits, init):
    X = digits[0] / 16
    options = {"rule": "soft", "norm": 2, "normalize": False, "init": init, "random_state": 0}
    start = WTAEncoder(20, max_iter=0, radius=2.0, **options).fit(X)
    np.testing.assert_allclose(np.linalg.norm(start.components_, axis=1), 50.0)
    first = start.set_params(radius=1.0).partial_fit(X[:5]).n_updates_
    assert first == 1
    encoder = WTAEncoder(20, learning_rate=0.08, max_iter=200, schedule="constant", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        encoder.fit(X)
    assert np.median(np.linalg.norm(encoder.components_, axis=1)) < 3
    assert encoder.history_["largest_change"][-1] < encoder.history_["largest_change"][0] / 5


def test_weights_that_are_given_to_the_soft_rule_start_where_they_are(digits):
    X, init = digits[0] / 16, np.random.default_rng(0).normal(size=(6, 64))
    encoder = WTAEncoder(6, rule="soft", norm=2, init=init, max_iter=0).fit(X)
    np.testing.assert_array_equal(encoder.components_, init)


@pytest.mark.parametrize("batch_size", [32, 100, 4096])
def test_units_converge_and_live_whatever_the_batch_size(digits, batch_size):
    X, y = digits
    encoder = WTAEncoder(50, batch_size=batch_size, random_state=0).fit(X)
    assert encoder.converged_.mean() >= 0.9
    assert encoder.dead_.mean() <= 0.05
    assert not encoder.diverged_.any()
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    assert cross_val_score(head, encoder.transform(X), y, cv=3).mean() > 0.88


@pytest.mark.parametrize(
    "options",
    [
        {"radius": 3.0},
        {"radius": 0.1, "rule": "sample", "max_iter": 5},
        {"norm": 2},
        {"norm": 4.5},
        {"rank": 4, "inhibition": 0.2},
        {"rank": 3, "inhibited": "all", "inhibition": 0.2},
        {"init": "spread"},
        {"schedule": lambda progress: (1 - progress) ** 2},
        {"schedule": "cosine"},
        {"precision": "bfloat16"},
    ],
)
def test_every_option_converges_to_its_radius(digits, options):
    encoder = WTAEncoder(40, random_state=0).set_params(**options).fit(digits[0])
    norms = lebesgue_norms(torch.tensor(encoder.components_), options.get("norm", 3))[:, 0].numpy()
    inside = np.abs(norms - encoder.radius) < encoder.tol * encoder.radius
    np.testing.assert_array_equal(encoder.converged_, inside)
    assert inside.mean() >= 0.9


def test_learning_ends_early_when_the_units_rest_and_history_tells_why(digits):
    encoder = WTAEncoder(20, max_iter=300, random_state=0).fit(digits[0])
    history = encoder.history_
    assert encoder.n_iter_ < 300
    assert {len(values) for values in history.values()} == {encoder.n_iter_}
    assert max(history["largest_change"][-3:]) < encoder.tol
    assert history["winners"][-1] == np.count_nonzero(encoder.n_wins_) == np.count_nonzero(~encoder.dead_)
    assert history["converged"][-1] == encoder.converged_.mean()
    patient = clone(encoder).set_params(n_iter_no_change=None, max_iter=encoder.n_iter_ + 20).fit(digits[0])
    assert patient.n_iter_ == encoder.n_iter_ + 20


def test_without_epochs_the_units_are_the_rows_at_the_radius(digits):
    X = digits[0][:50]
    encoder = WTAEncoder(10, max_iter=0, radius=2.0, random_state=0).fit(X)
    assert encoder.n_iter_ == encoder.n_updates_ == 0
    assert encoder.converged_.all()
    assert not encoder.dead_.any()
    rows = 2 * X / np.linalg.norm(X, ord=3, axis=1, keepdims=True)
    distances = np.abs(encoder.components_[:, None] - rows).max(axis=2)
    assert (distances.min(axis=1) < 1e-12).all()
    assert len(set(distances.argmin(axis=1))) == 10


def test_spread_rows_are_farther_apart_than_random_ones(digits):
    closest = {}
    for init in ("rows", "spread"):
        units = WTAEncoder(30, init=init, max_iter=0, random_state=0).fit(digits[0]).components_
        distances = np.linalg.norm(units[:, None] - units, axis=2) + 10 * np.eye(30)
        closest[init] = distances.min(axis=1).mean()
    assert closest["spread"] > 1.1 * closest["rows"]


def test_units_beyond_the_number_of_rows_are_distinct_mixtures(digits):
    encoder = WTAEncoder(30, max_iter=0, random_state=0).fit(digits[0][:8])
    assert encoder.converged_.all()
    assert len(np.unique(encoder.components_.round(6), axis=0)) == 30


def test_an_unscaled_table_keeps_its_units_alive_by_revival():
    X, _ = load_breast_cancer(return_X_y=True)
    left = WTAEncoder(20, revive=False, random_state=0)
    with pytest.warns(ConvergenceWarning, match="units are dead"):
        left.fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        revived = WTAEncoder(20, random_state=0).fit(X)
    assert revived.dead_.sum() < left.dead_.sum()


def test_warm_start_goes_on_from_the_units_learned(digits):
    X = digits[0]
    encoder = WTAEncoder(20, max_iter=3, warm_start=True, learning_rate=1e-12, random_state=0).fit(X)
    before = encoder.components_.copy()
    np.testing.assert_allclose(encoder.set_params(random_state=5).fit(X).components_, before, atol=1e-8)
    with pytest.raises(
        ValueError, match=re.escape("(n_components, n_features) = (21, 64). Got (20, 64) instead.")
    ):
        encoder.set_params(n_components=21).fit(X)


# Warnings


def test_too_few_updates_from_random_units_warn_of_units_not_converged(digits):
    encoder = WTAEncoder(20, init="normal", max_iter=1, batch_size=5000, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"of 20 units have not converged: .* Increase max_iter"):
        encoder.fit(digits[0][:30])


def test_units_at_the_wrong_attractor_are_named(digits):
    init = np.full((4, 64), -0.7)
    encoder = WTAEncoder(4, init=init, max_iter=1, learning_rate=1e-9, revive=False)
    with pytest.warns(ConvergenceWarning, match="4 of 4 units went to the wrong attractor"):
        encoder.fit(digits[0])
    assert encoder.diverged_.all()


def test_dead_units_are_named(digits):
    init = -np.abs(np.random.default_rng(0).normal(size=(10, 64)))
    init[:5] *= -1
    encoder = WTAEncoder(10, init=init, revive=False, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder.fit(digits[0])
    assert [str(w.message) for w in caught if "units are dead" in str(w.message)]
    assert encoder.dead_[5:].all()


@pytest.mark.parametrize("random_state", [0, 1, 2, 3])
def test_columns_of_other_spreads_that_leave_units_dead_are_told_of_with_the_cure(random_state):
    X, _ = load_wine(return_X_y=True)
    ratio = X.std(axis=0).max() / np.median(X.std(axis=0))
    message = f"units are dead.* column of X is {ratio:.0f} times the median one.* with a StandardScaler"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        WTAEncoder(random_state=random_state).fit(X)
    assert caught[0].filename == __file__
    WTAEncoder(random_state=random_state).fit(StandardScaler().fit_transform(X))


@pytest.mark.parametrize("n_units", [60, 100, 200])
def test_units_beyond_the_number_of_directions_are_no_trouble(n_units):
    X = np.random.default_rng(0).normal(size=(50, 20))
    for rows in (X, np.vstack([X, 3 * X, X[:10] / 7] * 4), np.vstack([X, np.zeros((400, 20))])):
        WTAEncoder(n_units, random_state=0).fit(rows)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_scaled_tables_train_without_a_warning_at_any_scale(scale):
    for load in (load_breast_cancer, load_digits):
        X, _ = load(return_X_y=True)
        WTAEncoder(random_state=0).fit(scale * StandardScaler().fit_transform(X))


@pytest.mark.parametrize(
    ("factor", "error"),
    [(-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError)],
)
def test_a_schedule_that_would_not_train_forwards_is_refused_with_the_share(digits, factor, error):
    encoder = WTAEncoder(4, max_iter=4, batch_size=500, schedule=lambda share: 1 if share < 0.5 else factor)
    message = "a callable that returns a float in [0, inf) for the share 0.5 of updates. Got"
    with pytest.raises(error, match=re.escape(f"The 'schedule' parameter of WTAEncoder must be {message}")):
        encoder.fit(digits[0])


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"radius": 1e5}, np.float32),
        ({"radius": 1e5, "norm": 50}, np.float64),
        ({"radius": 10, "norm": 500}, np.float64),
        ({"radius": 1e-5}, np.float32),
        ({"radius": 2, "power": 1e4}, np.float64),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_radius_whose_powers_overflow_or_vanish_is_refused_with_the_limits(digits, method, options, dtype):
    message = rf"'radius' parameter of WTAEncoder must be in \[.*\], where .* in {np.dtype(dtype)} with norm="
    with pytest.raises(ValueError, match=message):
        getattr(WTAEncoder(4, **options), method)(digits[0].astype(dtype))


@pytest.mark.parametrize("norm", [3, 50])
@pytest.mark.usefixtures("on_the_processor")
def test_an_int_for_the_radius_is_the_float(digits, norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found, expected = (
            WTAEncoder(4, norm=norm, radius=radius, power=None, max_iter=2, random_state=0).fit(digits[0])
            for radius in (10, 10.0)
        )
    np.testing.assert_array_equal(found.components_, expected.components_)


@pytest.mark.parametrize("normalize", [True, False])
def test_features_that_overflow_are_an_error_that_says_what_to_change(encoder, digits, normalize):
    encoder = pickle.loads(pickle.dumps(encoder))
    encoder.set_params(power=2000.0) if normalize else encoder.set_params(normalize=False)
    X = digits[0].astype(np.float32) * np.float32(1 if normalize else 1e9)
    encoder.components_ = encoder.components_ * 1.2
    with pytest.raises(
        ValueError, match=r"features of WTAEncoder overflow float32 with .* Lower power or radius"
    ):
        encoder.transform(X)


def test_weights_that_overflow_are_an_error_that_says_what_to_do(digits):
    encoder = WTAEncoder(4, learning_rate=1e200, max_iter=3)
    with pytest.raises(ValueError, match=r"no longer finite\. Lower learning_rate"):
        encoder.fit(digits[0])


# Pruning


def noisy_init(X):
    """Half the units at rows, half noise that wins nothing because its weights are negative."""
    rng = np.random.default_rng(0)
    rows = X[:60] / np.linalg.norm(X[:60], ord=3, axis=1, keepdims=True)
    return np.vstack([rows, -np.abs(rng.normal(size=(30, X.shape[1])))])


def test_pruning_cuts_the_units_that_stayed_noise_and_no_others(digits):
    X = digits[0]
    encoder = WTAEncoder(90, init=noisy_init(X), revive=False, prune="mixture", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        encoder.fit(X)
    assert encoder.pruned_.tolist() == [False] * 60 + [True] * 30
    assert not encoder.components_[60:].any()
    assert not encoder.transform(X)[:, 60:].any()
    assert encoder.components_[:60].var(axis=1).max() < encoder.prune_threshold_ < 1


def test_pruning_leaves_units_of_one_kind_alone(digits):
    rng = np.random.default_rng(0)
    init = rng.normal(size=(200, 64))
    encoder = WTAEncoder(200, init=init, max_iter=0, prune="mixture", random_state=0).fit(digits[0])
    assert encoder.prune_threshold_ == np.inf
    assert not encoder.pruned_.any()
    np.testing.assert_array_equal(encoder.components_, init)


# Streams


def test_partial_fit_takes_single_rows_and_fills_the_units_from_the_first(digits):
    X = digits[0][:30]
    encoder = WTAEncoder(12, learning_rate=1e-12)
    for row in X[:5]:
        encoder.partial_fit(row[None])
    rows = X / np.linalg.norm(X, ord=3, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.components_[:5], rows[:5], atol=1e-9)
    assert np.abs(encoder.components_[5:]).max() < 1e-9
    encoder.partial_fit(X[5:])
    np.testing.assert_allclose(encoder.components_, rows[:12], atol=1e-9)
    assert encoder.n_wins_.sum() == 30
    assert encoder.n_updates_ == 6


def test_chunks_of_any_size_learn_as_well_as_the_whole(digits):
    X, y = digits
    encoder = WTAEncoder(50, random_state=0)
    for epoch in range(3):
        encoder.set_params(learning_rate=0.02 / (1 + epoch) ** 2)
        for chunk in np.array_split(X, 150):
            encoder.partial_fit(chunk)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    assert encoder.dead_.mean() < 0.1
    assert cross_val_score(head, encoder.transform(X), y, cv=3).mean() > 0.88


# Few features


@pytest.mark.usefixtures("on_the_processor")
def test_beside_few_features_stands_a_constant_of_the_median_length_and_beside_many_none(digits):
    X = make_blobs(200, 4, random_state=0)[0]
    encoder = WTAEncoder(10, norm=3, random_state=0).fit(X)
    assert encoder.constant_ == pytest.approx(np.median(np.linalg.norm(X, ord=3, axis=1)))
    by_hand = WTAEncoder(10, norm=3, normalize=True, random_state=0)
    by_hand.fit(np.column_stack([X, np.full(len(X), encoder.constant_)]))
    np.testing.assert_array_equal(encoder.components_, by_hand.components_[:, :4])
    np.testing.assert_array_equal(encoder.constant_weights_, by_hand.components_[:, 4])
    for options in ({"normalize": True}, {"normalize": False}, {"init": encoder.components_}):
        assert WTAEncoder(10, max_iter=0, random_state=0, **options).fit(X).constant_ == 0
    assert WTAEncoder(10, max_iter=0).fit(digits[0]).constant_ == 0


@pytest.mark.filterwarnings("ignore:.*units are dead:sklearn.exceptions.ConvergenceWarning")
def test_classes_that_differ_in_length_only_are_told_apart():
    X, y = make_circles(300, noise=0.05, factor=0.5, random_state=0)

    def accuracy(normalize):
        encoder = WTAEncoder(50, normalize=normalize, random_state=0)
        model = make_pipeline(encoder, StandardScaler(), LogisticRegression())
        return cross_val_score(model, X, y).mean()

    assert accuracy("auto") > 0.95
    with warnings.catch_warnings():
        # On the circle that is left some units win nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert accuracy(True) < 0.8


def test_units_with_a_constant_stream_start_warm_and_become_torch_functions():
    X = make_blobs(200, 4, random_state=0)[0]
    encoder = WTAEncoder(10, norm=3, warm_start=True, max_iter=5, random_state=0)
    for chunk in np.array_split(X, 20):
        encoder.partial_fit(chunk)
    constant = encoder.constant_
    assert constant == pytest.approx(np.median(np.linalg.norm(X[:10], ord=3, axis=1)))
    encoder.fit(X)
    assert encoder.constant_ == constant
    assert encoder.components_.shape == (10, 4)
    rows = torch.tensor(X[:3], requires_grad=True)
    encoded = encoder._as_torch(device=torch.device("cpu"), dtype=torch.float64)(rows)
    np.testing.assert_allclose(encoded.detach().numpy(), encoder.transform(X[:3]), rtol=1e-12)
    assert torch.autograd.grad(encoded.sum(), rows)[0].abs().sum() > 0


# Arrays, types and devices


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_of_the_data_is_kept(digits, dtype):
    X = digits[0].astype(dtype)
    encoder = WTAEncoder(10, max_iter=5, random_state=0).fit(X)
    assert encoder.components_.dtype == dtype
    assert encoder.transform(X).dtype == dtype
    assert encoder.transform(X.astype(np.float16)).dtype == np.float64


@pytest.mark.usefixtures("on_the_processor")
def test_memory_maps_and_read_only_arrays_are_neither_changed_nor_refused(digits, tmp_path):
    X = digits[0]
    path = tmp_path / "X.npy"
    np.save(path, X)
    plain = WTAEncoder(10, max_iter=5, random_state=0).fit(X)
    mapped = clone(plain).fit(np.load(path, mmap_mode="r"))
    np.testing.assert_array_equal(mapped.components_, plain.components_)
    # The alignment of a copy may choose another order of summation.
    np.testing.assert_allclose(mapped.transform(np.load(path, mmap_mode="r")), plain.transform(X), rtol=1e-13)
    np.testing.assert_array_equal(np.load(path), X)


def test_data_frames_name_the_columns_in_and_out(digits):
    frame = pd.DataFrame(digits[0]).add_prefix("pixel")
    encoder = WTAEncoder(3, max_iter=5, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(encoder.transform(frame).columns) == ["wtaencoder0", "wtaencoder1", "wtaencoder2"]
    assert list(encoder.feature_names_in_) == list(frame.columns)


MEMORY_PROBE = """
from pathlib import Path
import numpy as np, torch
from sklearn_brm import WTAEncoder

def kibibytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

torch.set_num_threads(1)
X = np.random.default_rng(0).standard_normal((4000, 3072), dtype=np.float32)
encoder = WTAEncoder(2000, max_iter=2, batch_size=1000, n_iter_no_change=None, device="cpu", random_state=0)
WTAEncoder(10, max_iter=1, device="cpu").fit(X[:50])
before = kibibytes("VmRSS")
encoder.fit(X)
print(1024 * (kibibytes("VmHWM") - before), encoder.components_.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory used as Linux tells it")
def test_fit_needs_three_times_its_components_and_four_batches_of_activations_beside_the_data():
    command = [sys.executable, "-W", "ignore", "-c", MEMORY_PROBE]
    probe = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, components = map(int, probe.stdout.split())
    activations = 4 * 1000 * 2000
    # Allocators and matrix products keep some megabytes of their own, which differ by machine; half the
    # components is more than that, and less than one copy too many.
    assert 2 * components < peak < 3.5 * components + 4 * activations


@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1]])
@pytest.mark.usefixtures("on_the_processor")
def test_arrays_that_run_backwards_are_encoded_like_their_copies(digits, turn):
    X, init = digits[0][:200][turn], digits[0][:10][::-1]
    found, expected = (
        WTAEncoder(10, init=start, max_iter=2, n_iter_no_change=None, random_state=0)
        for start in (init, init.copy())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(X).partial_fit(X)
        expected.fit(X.copy()).partial_fit(X.copy())
    np.testing.assert_array_equal(found.components_, expected.components_)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X.copy()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", np.uint8(200)),
        ("n_components", np.int64(20)),
        ("norm", np.float16(2.3)),
        ("norm", np.uint8(3)),
        ("rank", np.int32(3)),
        ("inhibition", np.float16(0.3)),
        ("radius", np.uint8(20)),
        ("radius", np.float16(30.1)),
        ("power", np.float16(2.3)),
        ("learning_rate", np.float16(0.03)),
        ("max_iter", np.uint8(3)),
        ("batch_size", np.uint8(200)),
        ("tol", np.float16(0.02)),
        ("n_iter_no_change", np.int32(1)),
        ("random_state", np.int64(3)),
        ("verbose", np.int64(0)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.usefixtures("on_the_processor")
def test_numbers_of_numpy_do_what_those_of_python_do(digits, name, value):
    X = digits[0][:300]
    options = {"n_components": 10, "max_iter": 2, "random_state": 0}
    found, expected = (
        WTAEncoder(**(options | {name: number})).fit(X).partial_fit(X) for number in (value, value.item())
    )
    np.testing.assert_array_equal(found.components_, expected.components_)
    np.testing.assert_array_equal(found.converged_, expected.converged_)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


@pytest.mark.usefixtures("on_the_processor")
def test_the_same_seed_gives_the_same_bits_whatever_else_draws(digits, global_state_unchanged):
    first = WTAEncoder(20, max_iter=5, random_state=7).fit(digits[0])
    np.random.RandomState(0).normal(size=3)
    second = WTAEncoder(20, max_iter=5, random_state=7).fit(digits[0])
    np.testing.assert_array_equal(first.components_, second.components_)


@pytest.mark.usefixtures("on_the_processor")
def test_a_grid_search_in_two_processes_finds_the_same_as_in_one(digits):
    X, y = digits[0][:300], digits[1][:300]
    pipeline = make_pipeline(WTAEncoder(20, max_iter=3, random_state=0), LogisticRegression())
    grid = {"wtaencoder__power": [1.0, 4.5]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = [
            GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X, y).cv_results_["mean_test_score"]
            for n_jobs in (1, 2)
        ]
    np.testing.assert_array_equal(scores[0], scores[1])


@pytest.mark.usefixtures("on_the_processor")
def test_a_pickled_encoder_holds_arrays_and_encodes_the_same(encoder, digits):
    data = pickle.dumps(encoder)
    assert b"torch" not in data, "a machine without the device of the fit could not read it"
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.transform(digits[0]), encoder.transform(digits[0]))


@pytest.mark.parametrize("power", [None, 1.0, 4.5])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_torch_function_equals_transform_and_is_differentiable(encoder, digits, power, normalize):
    encoder = pickle.loads(pickle.dumps(encoder)).set_params(power=power, normalize=normalize)
    encode = encoder._as_torch(device="cpu", dtype=torch.float64)
    X = torch.tensor(digits[0][:5] / 16, requires_grad=True)
    encoded = encode(X)
    np.testing.assert_allclose(encoded.detach().numpy(), encoder.transform(X.detach().numpy()), rtol=1e-12)
    assert encoded.requires_grad
    assert torch.autograd.gradcheck(encode, X + 0.01)


@pytest.mark.parametrize(("centred", "norm", "power"), [(False, 3.0, 4.5), (True, 2.0, 1.0)])
def test_norm_and_power_are_those_for_images_only_where_no_number_is_negative(digits, centred, norm, power):
    X = digits[0] - 8 if centred else digits[0]
    encoder = WTAEncoder(20, max_iter=2, random_state=0).fit(X)
    assert (encoder.norm, encoder.norm_, encoder.power, encoder.power_) == ("auto", norm, "auto", power)
    assert (clone(encoder).norm, clone(encoder).power) == ("auto", "auto")
    by_hand = WTAEncoder(20, norm=norm, power=power, max_iter=2, random_state=0).fit(X)
    np.testing.assert_array_equal(encoder.transform(X), by_hand.transform(X))
    encode = encoder._as_torch(device="cpu", dtype=torch.float64)
    np.testing.assert_allclose(encode(torch.tensor(X)).numpy(), by_hand.transform(X), atol=1e-12)
    # Another power may be set after fit, and the automatic one again.
    overlaps = encoder.set_params(power=None).transform(X)
    np.testing.assert_allclose(np.maximum(overlaps, 0) ** power, by_hand.transform(X), rtol=1e-9)
    encoder.set_params(power="auto")
    np.testing.assert_array_equal(encoder.transform(X), by_hand.transform(X))


def test_the_automatic_power_beside_a_constant_is_two_where_numbers_are_negative():
    X = make_circles(100, random_state=0)[0]
    encoder = WTAEncoder(10, max_iter=2, random_state=0)
    assert encoder.fit(X).constant_ > 0
    assert (encoder.norm_, encoder.power_) == (2.0, 2.0)
    encoder.fit(X - X.min())
    assert (encoder.norm_, encoder.power_) == (3.0, 4.5)
    encoder.set_params(normalize=True).fit(X)
    assert (encoder.norm_, encoder.power_) == (2.0, 1.0)


def test_the_automatic_power_of_a_stream_falls_with_the_first_negative_number_and_stays(digits):
    encoder = WTAEncoder(20, random_state=0).partial_fit(digits[0][:50])
    assert (encoder.norm_, encoder.power_) == (3.0, 4.5)
    for chunk in (digits[0][50:100] - 8, digits[0][100:150]):
        encoder.partial_fit(chunk)
        # The norm is that under which units began to learn.
        assert (encoder.norm_, encoder.power_) == (3.0, 1.0)


def test_rows_of_zeros_are_encoded_as_zeros_and_win_nothing(digits):
    X = np.vstack([np.zeros((20, 64)), digits[0][:100]])
    encoder = WTAEncoder(10, random_state=0).fit(X)
    assert encoder.n_wins_.sum() == 100
    assert not encoder.transform(X[:20]).any()
    assert np.isfinite(encoder.components_).all()


@pytest.mark.parametrize("X", [np.zeros((5, 3)), np.ones((5, 3)), -np.ones((1, 1)), np.eye(3)[:1]])
def test_degenerate_tables_are_learned_without_harm(X):
    encoder = WTAEncoder(4, max_iter=5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert np.isfinite(encoder.fit_transform(X)).all()


# Bad input


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("n_components", 0, "an int in [1, inf)"),
        ("n_components", 2.5, "an int in [1, inf)"),
        ("norm", 1.5, "a float in [2, inf) or 'auto'"),
        ("rank", 1, "an int in [2, inf)"),
        ("inhibition", -0.1, "a float in [0, inf)"),
        ("inhibited", "first", "'last' or 'all'"),
        ("radius", 0, "a float in (0, inf)"),
        ("power", 0.5, "a float in [1, inf), 'auto' or None"),
        ("power", "automatic", "a float in [1, inf), 'auto' or None"),
        ("rule", "oja", "'minibatch', 'sample' or 'soft'"),
        ("learning_rate", float("nan"), "a float in (0, inf)"),
        ("schedule", "square", "'constant', 'linear', 'cosine' or a callable"),
        ("max_iter", -1, "an int in [0, inf) or None"),
        ("batch_size", 0, "an int in [1, inf)"),
        ("init", "zeros", "'rows', 'normal' or 'spread'"),
        ("normalize", "yes", "'auto', True or False"),
        ("tol", -1e-3, "a float in (0, inf)"),
        ("n_iter_no_change", 0, "an int in [1, inf) or None"),
        ("revive", 1, "True or False"),
        ("prune", True, "False or 'mixture'"),
        ("precision", "float16", "'float32' or 'bfloat16'"),
        ("verbose", -1, "an int in [0, inf), True or False"),
        ("warm_start", None, "True or False"),
        ("device", "abacus", "'auto' or a device that torch finds on this machine"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_bad_parameter_is_refused_before_any_work(method, name, value, rule):
    encoder = WTAEncoder().set_params(**{name: value})
    message = f"The {name!r} parameter of WTAEncoder must be {rule}. Got {value!r} instead."
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        getattr(encoder, method)(np.ones((3, 2)))
    assert not hasattr(encoder, "n_features_in_")


def test_cuda_where_there_is_none_is_a_clear_error():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="'device' parameter of WTAEncoder must be 'auto' or a device"):
        WTAEncoder(device="cuda").fit(np.ones((3, 2)))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (np.ones((2, 3)), "(n_components, n_features) = (4, 2). Got (2, 3) instead."),
        (np.full((4, 2), np.nan), "'init' of WTAEncoder contains NaN or infinity."),
    ],
)
def test_initial_weights_must_fit(init, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        WTAEncoder(4, init=init).fit(np.ones((3, 2)))


def test_initial_weights_must_fit_into_the_precision_of_the_data():
    with pytest.raises(ValueError, match="'init' of WTAEncoder contains NaN or infinity"):
        WTAEncoder(4, init=np.full((4, 2), 1e300)).fit(np.ones((3, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.full((3, 2), np.nan), ValueError, "contains NaN"),
        (np.full((3, 2), np.inf), ValueError, "contains infinity"),
        (np.empty((0, 2)), ValueError, "0 sample"),
        (np.array([["a", "b"]]), ValueError, "could not convert|dtype"),
        (sparse.csr_array(np.eye(3)), TypeError, "Sparse data was passed"),
    ],
)
def test_bad_data_is_refused_as_scikit_learn_does(X, error, message):
    for method in ("fit", "partial_fit"):
        with pytest.raises(error, match=message):
            getattr(WTAEncoder(), method)(X)


def test_an_unfitted_encoder_says_so():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        WTAEncoder().transform(np.ones((3, 2)))


def test_progress_is_shown_only_on_request(capfd):
    X, _ = make_blobs(60, random_state=0)
    WTAEncoder(4, max_iter=3, random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")
    WTAEncoder(4, max_iter=3, random_state=0, verbose=1).fit(X)
    assert "WTAEncoder" in capfd.readouterr().err


# What single errors would change


def units(*marked, n_units=100):
    """Return a mask of so many units, in which those in the ranges `marked` are true."""
    mask = np.zeros(n_units, dtype=bool)
    for part in marked:
        mask[part] = True
    return mask


def warnings_of(function, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args)
    return [str(w.message) for w in caught]


def directions(n_directions):
    """Return three rows in each of so many directions, with columns that are scaled alike."""
    return np.random.default_rng(0).normal(size=(n_directions, 3)).repeat(3, axis=0)


@pytest.mark.parametrize(
    ("tolerated", "warn", "word"),
    [
        (1, warn_of_diverged, "attractor"),
        (10, lambda still_open: warn_of_open(still_open, 7, 0.01), "not converged: after 7 .* tol=0.01"),
        (20, lambda dead: warn_of_dead(dead, directions(100), directions(100)), "dead"),
    ],
)
def test_a_few_units_in_trouble_are_tolerated_and_one_more_is_told(tolerated, warn, word):
    assert warnings_of(warn, units(slice(tolerated))) == []
    (message,) = warnings_of(warn, units(slice(tolerated + 1)))
    assert message.startswith(f"{tolerated + 1} of 100 units")
    assert re.search(word, message)


def test_units_for_which_no_row_is_left_may_be_dead():
    rows = directions(70)
    assert warnings_of(warn_of_dead, units(slice(50)), rows, rows) == []
    assert len(warnings_of(warn_of_dead, units(slice(51)), rows, rows)) == 1


def test_units_that_were_pruned_are_in_no_other_trouble(digits):
    encoder = WTAEncoder(90, init=noisy_init(digits[0]), revive=False, random_state=0)
    kept = " ".join(warnings_of(encoder.fit, digits[0]))
    assert "wrong attractor" in kept
    assert "units are dead" in kept
    assert warnings_of(encoder.set_params(prune="mixture").fit, digits[0]) == []
    assert (encoder.dead_ & encoder.diverged_)[60:].all()


def test_the_constant_is_the_median_length_of_the_rows_that_have_one():
    rows = np.array([[0.0, 0.0], [0.3, 0.0], [0.5, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert WTAEncoder(2, max_iter=0).fit(rows).constant_ == 0.5
    assert WTAEncoder(2, max_iter=0).fit(np.zeros((2, 2))).constant_ == 1


def test_the_mixture_order_stops_at_the_first_gain_that_chance_explains():
    # chi2 with 3 degrees of freedom passes p = 0.01 at 11.345, which is twice the gain in log-likelihood.
    assert mixture_order([0.0, 5.67, 11.0]) == 1
    assert mixture_order([0.0, 5.68, 11.0, 100.0]) == 2
    assert mixture_order([0.0, 10.0, 20.0, 30.0]) == 4


def test_the_cut_is_midway_between_the_two_highest_of_three_kinds_of_units():
    rng = np.random.default_rng(0)
    kinds = [rng.normal(mean, 0.1, size) for mean, size in ((-4, 40), (0, 20), (3, 30))]
    midway = np.exp((kinds[1].mean() + kinds[2].mean()) / 2)
    variances = np.exp(np.concatenate(kinds))
    assert noise_cut(variances, np.random.RandomState(0)) == pytest.approx(midway, rel=1e-3)
    with_dead = np.concatenate([np.zeros(5), variances])
    assert noise_cut(with_dead, np.random.RandomState(0)) == pytest.approx(midway, rel=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_dead_units_stay_as_they_are_unless_they_are_to_be_revived(digits):
    init = np.abs(np.random.default_rng(0).normal(size=(10, 64)))
    init *= np.where(np.arange(10) < 5, 1, -1)[:, None] / np.linalg.norm(init, ord=3, axis=1, keepdims=True)
    encoder = WTAEncoder(10, init=init, inhibition=0, max_iter=8, revive=False).fit(digits[0])
    np.testing.assert_array_equal(encoder.components_[5:], init[5:])
    encoder.set_params(revive=True).fit(digits[0])
    assert (encoder.components_[5:] != init[5:]).any(axis=1).all()


@pytest.mark.parametrize(
    ("scales", "n_constant", "cure"),
    [
        ([1, 1, 1], 5, "Decrease n_components"),
        ([1, 1, 100], 5, "is 100 times the median one"),
        ([1, 1, 100], 0, "is 100 times the median one"),
    ],
)
def test_columns_that_do_not_vary_do_not_make_others_look_large(scales, n_constant, cure):
    rows = np.random.default_rng(0).normal(size=(200, 3))
    rows *= scales / rows.std(axis=0)
    X = np.hstack([rows, np.ones((200, n_constant))])
    with pytest.warns(ConvergenceWarning, match=f"50 of 100 units are dead.* {cure}"):
        warn_of_dead(units(slice(50)), X, X)


@pytest.mark.usefixtures("on_the_processor")
def test_a_stream_that_overflows_is_refused_and_leaves_the_units_as_they_were(digits):
    encoder = WTAEncoder(4, random_state=0).partial_fit(digits[0][:100])
    before = encoder.components_.copy()
    with pytest.raises(ValueError, match=r"no longer finite\. Lower learning_rate"):
        encoder.set_params(learning_rate=1e200).partial_fit(digits[0])
    np.testing.assert_array_equal(encoder.components_, before)
    assert encoder.n_updates_ == 1


@pytest.mark.parametrize(("power", "exponent"), [(None, 3), (1.0, 3), (100.0, 200)])
def test_the_largest_radius_is_that_whose_highest_power_is_a_finite_number(digits, power, exponent):
    finite = np.finfo(np.float64)
    largest = (finite.max * finite.eps) ** (1 / exponent)
    WTAEncoder(4, power=power, radius=0.999 * largest, max_iter=0).fit(digits[0])
    with pytest.raises(ValueError, match=re.escape(f", {largest:.3g}], where radius")):
        WTAEncoder(4, power=power, radius=1.001 * largest, max_iter=0).fit(digits[0])
