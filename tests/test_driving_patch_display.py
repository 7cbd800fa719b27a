"""Filters of first layers, and the patches that drive units of deeper ones."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer

from sklearn_brm import DrivingPatchDisplay, PatchEncoder, ReceptiveFieldDisplay, WTAEncoder

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def images():
    return load_digits().data


def layer(n_units, **options):
    encoder = WTAEncoder(n_units, norm=2, max_iter=0)
    return PatchEncoder(encoder, **{"patch_size": 3, "n_patches": 2000, "random_state": 0} | options)


@pytest.fixture(scope="module")
def layers(images):
    first = layer(8, padding="same", pool_size=4, pool_stride=2, grid=None)
    return make_pipeline(first, layer(6, image_shape=(4, 4), stride=2, padding=1)).fit(images)


def test_filters_are_units_through_the_whitening(images):
    encoder = layer(8).fit(images)
    weights, patch_shape = encoder.filters()
    assert patch_shape == (3, 3, 1)
    np.testing.assert_allclose(weights, encoder.encoder_.components_ @ encoder.whitening_)
    display = ReceptiveFieldDisplay.from_estimator(encoder)
    np.testing.assert_array_equal(display.weights, weights)
    assert display.image_.get_array().shape == (11, 11, 4)
    centres = PatchEncoder(KMeans(4, n_init=1), patch_size=3, whitening=None, n_patches=500).fit(images)
    np.testing.assert_array_equal(centres.filters()[0], centres.encoder_.cluster_centers_)


def test_an_encoder_without_units_has_no_filters(images):
    with pytest.raises(ValueError, match="components_ or cluster_centers_"):
        PatchEncoder(SplineTransformer(), patch_size=3, n_patches=500).fit(images).filters()


def test_filters_of_deeper_layers_are_no_pictures(layers):
    with pytest.raises(ValueError, match="a first layer, of 1 or 3 channels and not 8"):
        ReceptiveFieldDisplay.from_estimator(layers[-1])


def test_pixels_behind_a_place_are_those_that_move_its_answer(layers, images):
    first, second = layers[0], layers[1]
    rng = np.random.default_rng(0)
    image = images[:1] + rng.normal(size=(1, 64))
    before = second.maps(first.transform(image))[0]
    moved = np.zeros((8, 8), dtype=bool)
    place = (0, 1)
    for pixel in range(64):
        other = image.copy()
        other[0, pixel] += 8
        change = np.abs(second.maps(first.transform(other))[0] - before)[place]
        moved.ravel()[pixel] = change.max() > 1e-9
    for axis in (0, 1):
        rows = np.flatnonzero(moved.any(axis=1 - axis))
        inside = second.pixels_behind(place[axis], place[axis], axis, pooled=False)
        low, high = first.pixels_behind(*inside, axis)
        assert low <= rows.min()
        assert rows.max() <= high
        # Windows hold places that lose against their neighbours: the edge may stand still.
        assert rows.max() - rows.min() >= min(high, 7) - max(low, 0) - 2


def test_the_patches_shown_are_cut_from_where_the_answer_is_largest(images):
    encoder = layer(5).fit(images)
    display = DrivingPatchDisplay.from_estimator(encoder, images[:50], n_units=3, n_best=4)
    assert display.patches.shape == (3, 4, 3, 3, 1)
    maps = encoder.maps(images[:50])
    scaled = images[:50].reshape(50, 8, 8) / images[:50].max()
    for unit, patches, answers in zip(display.units, display.patches, display.answers):
        best = np.sort(maps[..., unit].reshape(50, -1).max(axis=1))[::-1][:4]
        np.testing.assert_allclose(answers, best)
        image, row, column = np.unravel_index(maps[..., unit].argmax(), maps.shape[:3])
        np.testing.assert_allclose(patches[0, ..., 0], scaled[image, row : row + 3, column : column + 3])


def test_patches_that_stick_out_are_empty_there_and_other_steps_are_left_out(layers, images):
    labels = load_digits().target
    model = Pipeline([*layers.steps, ("head", LogisticRegression(max_iter=2000))])
    model.steps[-1][1].fit(layers.transform(images), labels)
    display = DrivingPatchDisplay.from_estimator(model, images[:60], n_units=100, n_best=2)
    assert display.units.tolist() == list(range(6))
    assert np.isnan(display.patches).any()
    assert display.ax_.get_ylabel() == "unit"
    again = display.plot(ax=display.ax_)
    assert again is display


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (LogisticRegression(), TypeError, "a PatchEncoder, or a Pipeline that begins with one"),
        (WTAEncoder, TypeError, "a fitted estimator"),
    ],
)
def test_what_is_no_patch_encoder_is_refused(images, estimator, error, message):
    if not isinstance(estimator, type):
        estimator.fit(images[:50], load_digits().target[:50])
    with pytest.raises(error, match=message):
        DrivingPatchDisplay.from_estimator(estimator, images[:10])


def test_a_layer_on_maps_alone_is_refused(layers, images):
    with pytest.raises(ValueError, match="for images of 1 or 3 channels, not 8"):
        DrivingPatchDisplay.from_estimator(layers[-1], layers[0].transform(images[:10]))
