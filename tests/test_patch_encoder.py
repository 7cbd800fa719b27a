"""PatchEncoder as a citizen of scikit-learn, as the networks it is known from, and as a victim of attacks."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import (
    AdversarialScorer,
    NotCertifiableError,
    NotConvertibleError,
    PatchEncoder,
    RegularizedClassifier,
    ThreatModel,
    WTAEncoder,
    certified_radii,
    certify,
    critical_perturbations,
    pipeline_spectra,
    to_torch,
)

pytestmark = pytest.mark.usefixtures("on_the_processor")


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def small(encoder=None, **options):
    settings = {"patch_size": 3, "n_patches": 2000, "random_state": 0} | options
    return PatchEncoder(WTAEncoder(12, norm=2) if encoder is None else encoder, **settings)


@parametrize_with_checks(
    [
        PatchEncoder(),
        PatchEncoder(PCA(1), patch_size=1, contrast=None, whitening=None, standardize=True, grid=None),
        PatchEncoder(
            WTAEncoder(3, rule="soft", max_iter=2), padding=1, pool_size=2, activation="rectifier", power=0.7
        ),
    ]
)
def test_common_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        # The checks train on a handful of rows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


# The mathematics


def loop_maps(images, encoder, answer):
    """Return the maps of a fitted encoder with contrast and whitening, place by place."""
    height, width = encoder.image_shape_[:2]
    size = encoder.patch_size
    maps = []
    for image in images.reshape(-1, *encoder.image_shape_):
        rows = []
        for top in range(height - size + 1):
            for left in range(width - size + 1):
                patch = image[top : top + size, left : left + size].ravel()
                patch = patch - patch.mean()
                patch = patch / np.sqrt((patch**2).mean() + encoder.contrast_offset_)
                rows.append((patch - encoder.whitening_mean_) @ encoder.whitening_)
        maps.append(answer(np.array(rows)))
    return np.array(maps)


def quadrants(maps, side):
    maps, half = maps.reshape(len(maps), side, side, -1), side // 2
    parts = [maps[:, i : i + half, j : j + half] for i in (0, half) for j in (0, half)]
    return np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1).reshape(len(maps), -1)


def test_with_k_means_it_is_the_network_of_coates_lee_and_ng(digits):
    X = digits[0][:20]
    encoder = small(KMeans(7, n_init=1, random_state=0)).fit(X)

    def triangle(patches):
        distances = euclidean_distances(patches, encoder.encoder_.cluster_centers_)
        return np.maximum(distances.mean(axis=1, keepdims=True) - distances, 0)

    expected = quadrants(loop_maps(X, encoder, triangle), 6)
    np.testing.assert_allclose(encoder.transform(X), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_units_of_local_learning_answer_by_how_much_they_exceed_the_mean_of_all(digits, power):
    X = digits[0][:20]
    encoder = small(WTAEncoder(9, norm=3, normalize=True), power=power).fit(X)
    W = encoder.encoder_.components_

    def triangle(patches):
        overlaps = patches @ (np.abs(W) * W).T / np.linalg.norm(patches, ord=3, axis=1, keepdims=True)
        return np.maximum(overlaps - overlaps.mean(axis=1, keepdims=True), 0) ** power

    expected = quadrants(loop_maps(X, encoder, triangle), 6)
    np.testing.assert_allclose(encoder.transform(X), expected, rtol=1e-9, atol=1e-12)
    encoder.set_params(activation="rectifier")

    def rectified(patches):
        overlaps = patches @ (np.abs(W) * W).T / np.linalg.norm(patches, ord=3, axis=1, keepdims=True)
        return np.maximum(overlaps, 0) ** power

    expected = quadrants(loop_maps(X, encoder, rectified), 6)
    np.testing.assert_allclose(encoder.transform(X), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "inner",
    [
        WTAEncoder(8, normalize=True),
        WTAEncoder(8, power=None, normalize=True),
        KMeans(8, n_init=1),
        PCA(5),
        PCA(5, whiten=True),
        TruncatedSVD(5),
    ],
    ids=repr,
)
def test_without_an_activation_maps_are_what_the_encoder_puts_out_of_each_patch(digits, inner):
    X = digits[0][:20]
    encoder = small(inner, activation=None, grid=None).fit(X)
    expected = loop_maps(X, encoder, encoder.encoder_.transform)
    np.testing.assert_allclose(encoder.transform(X), expected.reshape(20, -1), rtol=1e-8, atol=1e-8)
    assert encoder.image_shape_out_ == (6, 6, expected.shape[2])


def test_an_encoder_learns_from_the_patches_that_transform_will_show_it(digits):
    X = digits[0][:10]
    encoder = small(WTAEncoder(4, norm=3, normalize=True, max_iter=0), n_patches=10**6).fit(X)
    assert encoder.n_patches_ == 10 * 36
    seen = loop_maps(X, encoder, lambda patches: patches).reshape(-1, 9)
    rows = seen / np.linalg.norm(seen, ord=3, axis=1, keepdims=True)
    for unit in encoder.encoder_.components_:
        assert np.abs(rows - unit).max(axis=1).min() < 1e-9


def test_the_patches_drawn_are_different_ones_and_come_from_everywhere(digits):
    seen = []

    class Keeps(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            seen.append(X)
            return self

        def transform(self, X):
            return X

    images = np.arange(50 * 64, dtype=float).reshape(50, 64)
    small(Keeps(), contrast=None, whitening=None, n_patches=900).fit(images)
    (patches,) = seen
    places = patches[:, 0].astype(int)
    assert len(np.unique(places)) == 900
    assert len(np.unique(places // 64)) == 50
    assert len(np.unique(places % 64)) == 36
    offsets = [0, 1, 2, 8, 9, 10, 16, 17, 18]
    np.testing.assert_array_equal(patches - patches[:, :1], np.tile(offsets, (900, 1)))


def test_channels_are_standardised_over_all_images_and_places():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 5, 5, 3)) * [1, 10, 100] + [5, 0, -5]
    encoder = small(PCA(2), image_shape=(5, 5), standardize=True, contrast=None, whitening=None)
    encoder.fit(images.reshape(30, -1))
    np.testing.assert_allclose(encoder.channel_means_, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(encoder.channel_scales_, images.std(axis=(0, 1, 2)))
    standard = ((images - encoder.channel_means_) / encoder.channel_scales_).reshape(30, -1)
    plain = clone(encoder).set_params(standardize=False).fit(standard)
    found = encoder.transform(images.reshape(30, -1))
    np.testing.assert_allclose(found, plain.transform(standard), atol=1e-10)


def test_answers_do_not_depend_on_the_unit_of_the_pixels(digits):
    X = digits[0][:100]
    found = small().fit(X / 16).transform(X / 16)
    np.testing.assert_allclose(small().fit(1000 * X).transform(1000 * X), found, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_the_batch_size_changes_nothing(digits, batch_size):
    X = digits[0][:20]
    encoder = small().fit(X)
    found = encoder.transform(X)
    np.testing.assert_allclose(encoder.set_params(batch_size=batch_size).transform(X), found, rtol=1e-12)


def test_short_products_and_half_precision_agree_to_their_digits(digits, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    X = digits[0][:50].astype(np.float32)
    encoder = small(pool_size=2).fit(X)
    exact = encoder.transform(X)
    assert exact.dtype == np.float32
    half = encoder.set_params(output_dtype="float16").transform(X)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, exact, rtol=1e-3, atol=1e-3)
    assert encoder.set_params(output_dtype="auto").transform(X.astype(np.float16)).dtype == np.float16
    short = encoder.set_params(precision="bfloat16").transform(X)
    assert short.dtype == np.float32
    assert 0 < np.abs(short - exact).max() < 0.02 * exact.max()
    # Emulated, they would take many times as long.
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    np.testing.assert_array_equal(encoder.transform(X), exact)


def test_layers_pass_images_on_in_half_precision(digits):
    X = digits[0][:200].astype(np.float32)
    first = small(padding="same", pool_size=4, pool_stride=2, grid=None, output_dtype="float16")
    second = small(image_shape=(4, 4), standardize=True, contrast=None, whitening=None)
    layers = make_pipeline(first, second).fit(X)
    assert first.image_shape_out_ == (4, 4, 12)
    assert second.image_shape_ == (4, 4, 12)
    assert second.image_shape_out_ == (2, 2, 12)
    assert np.isfinite(layers.transform(X)).all()


def test_what_comes_after_patches_can_be_changed_after_fit(digits):
    X = digits[0][:30]
    encoder = small().fit(X)
    encoder.set_params(grid=None)
    maps = encoder.transform(X).reshape(30, 6, 6, 12)
    encoder.set_params(pool_size=3, pooling="max")
    expected = maps.reshape(30, 2, 3, 2, 3, 12).max(axis=(2, 4)).reshape(30, -1)
    np.testing.assert_allclose(encoder.transform(X), expected)
    assert encoder.image_shape_out_ == (2, 2, 12)


def test_maps_are_arrays_whatever_the_output_and_change_nothing(digits):
    X = digits[0][:10]
    encoder = small().fit(X)
    expected = encoder.maps(X)
    assert expected.shape == (10, 6, 6, 12)
    np.testing.assert_allclose(quadrants(expected.reshape(10, 36, 12), 6), encoder.transform(X), rtol=1e-10)
    encoder.set_output(transform="pandas")
    np.testing.assert_array_equal(encoder.maps(X), expected)
    assert encoder.transform(X).columns[0] == "patchencoder0"


def test_parameters_that_no_longer_fit_leave_no_shape_but_a_picture_of_the_estimator(digits):
    encoder = small().fit(digits[0][:10]).set_params(image_shape=(3, 3))
    assert not hasattr(encoder, "image_shape_out_")
    assert "PatchEncoder" in encoder._repr_html_()


# The shape of images


@pytest.mark.parametrize(
    ("n_columns", "image_shape", "expected"),
    [
        (64, "auto", (8, 8, 1)),
        (192, "auto", (8, 8, 3)),
        (3072, "auto", (32, 32, 3)),
        (784, "auto", (28, 28, 1)),
        (1, "auto", (1, 1, 1)),
        (3, "auto", (1, 3, 1)),
        (10, "auto", (1, 10, 1)),
        (12, (2, 3), (2, 3, 2)),
        (12, [2, 6, 1], (2, 6, 1)),
        (100, (1, 100), (1, 100, 1)),
    ],
)
def test_rows_are_read_as_the_image_that_they_are(n_columns, image_shape, expected):
    X = np.random.default_rng(0).normal(size=(5, n_columns))
    encoder = PatchEncoder(PCA(1), image_shape=image_shape, patch_size=1, contrast=None, whitening=None)
    assert encoder.fit(X).image_shape_ == expected


@pytest.mark.parametrize(
    ("n_columns", "image_shape", "named"),
    [
        (100, (8, 8), "(10, 10, 1)"),
        (192, (8, 8, 1), "(8, 8, 3)"),
        (384, "auto", "(8, 8, 6) or (4, 4, 24) or (2, 2, 96)"),
        (70, "auto", "(7, 10, 1) or (1, 70, 1)"),
    ],
)
def test_a_shape_that_does_not_fit_is_an_error_that_names_those_that_would(n_columns, image_shape, named):
    X = np.zeros((5, n_columns))
    with pytest.raises(ValueError, match=r"'image_shape' parameter of PatchEncoder must be") as caught:
        PatchEncoder(image_shape=image_shape).fit(X)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_shape": (8,)}, TypeError, r"'auto', \(height, width\) or"),
        ({"image_shape": (8, 0)}, ValueError, r"'auto', \(height, width\) or"),
        ({"image_shape": "square"}, ValueError, r"'auto', \(height, width\) or"),
        ({"patch_size": 0}, ValueError, r"an int in \[1, inf\) or \(height, width\). Got 0"),
        ({"patch_size": 2.0}, TypeError, r"an int in \[1, inf\) or \(height, width\). Got 2.0"),
        ({"patch_size": (2, 3, 1)}, TypeError, r"\(height, width\)"),
        ({"patch_size": 9, "image_shape": (8, 8)}, ValueError, "at most the size of the images, 8 x 8"),
        ({"padding": 8}, ValueError, "smaller than the images, 8 x 8"),
        ({"encoder": "kmeans"}, TypeError, "a transformer or None"),
        ({"encoder": KMeans}, TypeError, "a transformer or None"),
        ({"encoder": LogisticRegression()}, TypeError, "a transformer, with a method transform, or None"),
        ({"whitening": -1}, ValueError, "a float in"),
        ({"activation": "relu"}, ValueError, "'triangle', 'rectifier' or None"),
        ({"n_patches": 0}, ValueError, r"an int in \[1, inf\)"),
    ],
    ids=str,
)
def test_bad_parameters_are_named_with_their_rule(digits, options, error, message):
    with pytest.raises(error, match=message):
        PatchEncoder(**options).fit(digits[0])


def test_patches_are_no_larger_than_images_whose_shape_is_found():
    X = np.random.default_rng(0).normal(size=(30, 16))
    encoder = PatchEncoder(PCA(2), patch_size=6).fit(X)
    assert encoder.image_shape_out_ == (1, 1, 2)
    assert encoder.n_patches_ == 30


def test_constant_images_give_constant_answers_and_no_warning():
    encoder = small(WTAEncoder(2, max_iter=0)).fit(np.ones((4, 64)))
    assert np.isfinite(encoder.transform(np.ones((2, 64)))).all()


def test_one_image_is_enough(digits):
    encoder = small(WTAEncoder(50, norm=2, max_iter=0)).fit(digits[0][:1])
    assert encoder.n_patches_ == 36
    assert np.isfinite(encoder.transform(digits[0])).all()


def test_an_encoder_that_needs_more_patches_says_so_and_how_many_there_were(digits):
    with pytest.raises(ValueError, match="n_clusters=100") as caught:
        small(KMeans(100)).fit(digits[0][:2])
    assert caught.value.__notes__ == ["PatchEncoder gave its encoder 72 patches to learn from."]


def test_an_answer_that_overflows_half_precision_is_an_error(digits):
    encoder = small(PCA(2), contrast=None, whitening=None, output_dtype="float16").fit(digits[0][:50])
    with pytest.raises(ValueError, match="answers of PatchEncoder overflow float16"):
        encoder.transform(1e6 * digits[0][:5])


# A citizen of scikit-learn


def test_names_frames_and_pickles(digits):
    X = pd.DataFrame(digits[0][:60]).add_prefix("pixel")
    encoder = small().set_output(transform="pandas").fit(X)
    found = encoder.transform(X)
    assert list(found.columns) == [f"patchencoder{i}" for i in range(2 * 2 * 12)]
    again = pickle.loads(pickle.dumps(encoder))
    pd.testing.assert_frame_equal(again.transform(X), found)
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(X.rename(columns={"pixel0": "other"}))
    with pytest.raises(NotFittedError):
        PatchEncoder().transform(digits[0])
    assert not hasattr(PatchEncoder(), "image_shape_out_")


def test_it_travels_through_skops(digits):
    io = pytest.importorskip("skops.io")
    encoder = small().fit(digits[0][:60])
    content = io.dumps(encoder)
    again = io.loads(content, trusted=io.get_untrusted_types(data=content))
    np.testing.assert_array_equal(again.transform(digits[0][:9]), encoder.transform(digits[0][:9]))


def test_the_same_seed_gives_the_same_bits_and_leaves_global_state_alone(digits, global_state_unchanged):
    X = digits[0][:100]
    found = [small(random_state=np.random.RandomState(3)).fit(X).transform(X) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    assert np.abs(small(random_state=4).fit(X).transform(X) - found[0]).max() > 0
    seeded = small(WTAEncoder(12, norm=2, random_state=7)).fit(X)
    assert seeded.encoder_.random_state == 7


def test_images_and_encoders_of_the_user_are_not_changed(digits):
    X, inner = digits[0][:50].copy(), WTAEncoder(12, norm=2)
    small(inner, standardize=True).fit(X).transform(X)
    np.testing.assert_array_equal(X, digits[0][:50])
    assert not hasattr(inner, "components_")


def test_chunks_are_learned_in_the_coordinates_of_the_first(digits):
    X = digits[0]
    encoder = small().partial_fit(X[:300])
    whitening, components = encoder.whitening_, encoder.encoder_.components_
    encoder.partial_fit(X[300:600])
    assert encoder.whitening_ is whitening
    assert np.abs(encoder.encoder_.components_ - components).max() > 0
    assert encoder.encoder_.n_updates_ == 40
    assert not hasattr(PatchEncoder(PCA()), "partial_fit")
    assert hasattr(PatchEncoder(MiniBatchKMeans()), "partial_fit")


def test_parameters_of_the_encoder_are_searched(digits):
    X, y = digits[0][:200], digits[1][:200]
    patches = small(WTAEncoder(norm=2, max_iter=0))
    model = Pipeline([("patches", patches), ("head", LogisticRegression(max_iter=1000))])
    search = GridSearchCV(model, {"patches__encoder__n_components": [2, 20], "patches__grid": [1, 2]}, cv=2)
    assert search.fit(X, y).best_params_ == {"patches__encoder__n_components": 20, "patches__grid": 2}


def test_digits_are_told_apart_better_than_from_their_pixels(digits):
    X, y = digits
    head = LogisticRegression(max_iter=3000)
    encoder = PatchEncoder(WTAEncoder(100, norm=2), patch_size=4, n_patches=10_000, grid=3, random_state=0)
    accuracy = make_pipeline(encoder, head).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:])
    assert accuracy > head.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) + 0.01


# Attacks


@pytest.fixture(scope="module")
def network(digits):
    X, y = digits[0] / 16, digits[1]
    layers = [
        ("first", small(WTAEncoder(12, norm=2, max_iter=0), padding="same", pool_size=2, grid=None)),
        ("second", small(image_shape=(4, 4), patch_size=2, standardize=True, contrast=None, whitening=None)),
        ("head", RegularizedClassifier((), max_iter=100, tol=None, random_state=0)),
    ]
    return Pipeline(layers).fit(X[:600], y[:600])


def test_a_whole_stack_becomes_a_module_whose_gradients_are_finite_differences(network, digits):
    X = digits[0] / 16
    module = to_torch(network)
    rows = torch.tensor(X[600:604] + np.random.default_rng(0).normal(scale=0.1, size=(4, 64)))
    np.testing.assert_allclose(
        module(rows).numpy(), network.decision_function(rows.numpy()), rtol=1e-9, atol=1e-9
    )
    assert torch.autograd.gradcheck(module, rows.requires_grad_(), eps=1e-7, atol=1e-4)
    steps = {layer.step for layer in module}
    assert {"first", "second", "head"} <= steps


@pytest.mark.parametrize("inner", [KMeans(8, n_init=1), PCA(5, whiten=True), TruncatedSVD(5)], ids=repr)
@pytest.mark.parametrize("activation", ["triangle", None])
def test_stacks_of_other_encoders_are_converted_too(digits, inner, activation):
    X = digits[0][:100]
    encoder = small(inner, activation=activation).fit(X)
    found = to_torch(encoder)(torch.tensor(X[:9]))
    np.testing.assert_allclose(found.numpy(), encoder.transform(X[:9]), rtol=1e-7, atol=1e-7)


def test_an_encoder_without_a_converter_is_named_with_its_place(digits):
    class Squares(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            return X**2

    model = make_pipeline(small(Squares()), LogisticRegression()).fit(digits[0][:50], digits[1][:50])
    with pytest.raises(
        NotConvertibleError, match=r"Step 'patchencoder__encoder' \(Squares\) cannot be turned"
    ):
        to_torch(model)


def test_an_encoder_of_which_no_bounds_are_known_is_attacked_and_not_certified(digits):
    class Outsider(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            return np.tanh(X)

        def _as_torch(self, *, device, dtype):
            return torch.nn.Tanh()

    X, y = digits[0][:50], digits[1][:50]
    model = make_pipeline(small(Outsider()), LogisticRegression()).fit(X, y)
    np.testing.assert_allclose(to_torch(model[:1])(torch.tensor(X)).numpy(), model[:1].transform(X))
    with pytest.raises(NotCertifiableError, match="becomes the layer PerPatch, of which no bounds are known"):
        certify(model, X[:5], y[:5], eps=0.1)


def test_spectra_of_a_pipeline_go_through_patches(digits):
    X, y = digits[0][:200], digits[1][:200]
    model = make_pipeline(small(), LogisticRegression()).fit(X, y)
    table = pipeline_spectra(model, X, widths=[5])
    assert "output" in table["layer"]


def test_a_module_keeps_what_was_fitted_when_the_encoder_learns_on(digits):
    X = digits[0][:300]
    encoder = small(WTAEncoder(6, norm=2, warm_start=True)).partial_fit(X)
    module, rows = to_torch(encoder), torch.tensor(X[:5])
    before = module(rows)
    encoder.partial_fit(X)
    torch.testing.assert_close(module(rows), before, rtol=0, atol=0)


def test_the_scorer_attacks_a_stack_by_its_gradient(network, digits):
    X, y = digits[0][600:640] / 16, digits[1][600:640]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        robust = AdversarialScorer(0.05, threat=ThreatModel(bounds=(0, 1)), random_state=0)(network, X, y)
    assert 0 <= robust < network.score(X, y)


def test_certificates_of_a_stack_stay_below_its_critical_perturbations(network, digits):
    X, y = digits[0][600:620] / 16, digits[1][600:620]
    threat = ThreatModel(bounds=(0, 1))
    attacked = critical_perturbations(network, X, y, threat=threat, attack="pgd", n_steps=10, random_state=0)
    radii = certified_radii(network, X[:2], y[:2], threat=threat, max_eps=0.05, tol=0.5)
    assert (radii <= attacked.radius[:2]).all()
    assert (radii[network.predict(X[:2]) == y[:2]] > 0).all()
