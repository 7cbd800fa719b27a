"""ReceptiveFieldDisplay shows the right units in the right places, and marks those in trouble."""

import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import StandardScaler

from sklearn_brm import ReceptiveFieldDisplay, WTAEncoder


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def encoder():
    """Thirty units of which ten stay noise and are pruned, and two more are dead."""
    X = load_digits().data
    rng = np.random.default_rng(0)
    rows = X[:20] / np.linalg.norm(X[:20], ord=3, axis=1, keepdims=True)
    rows[-2:] *= -1
    noise = -5 * np.abs(rng.normal(size=(10, 64)))
    encoder = WTAEncoder(30, init=np.vstack([rows, noise]), revive=False, prune="mixture", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return encoder.fit(X)


def make_display(weights, image_shape, **kwargs):
    n_units = len(weights)
    states = {"dead": np.zeros(n_units, bool), "pruned": np.zeros(n_units, bool)}
    return ReceptiveFieldDisplay(
        weights, image_shape=image_shape, variances=weights.var(axis=1), **(states | kwargs)
    )


def test_units_of_one_channel_are_shades_around_white_scaled_by_their_largest_weight():
    weights = np.array([[0.0, 2.0, -2.0, 1.0], [0.0, 0.0, 0.0, 10.0], [0.0, 0.0, 0.0, 0.0]])
    grid = np.asarray(make_display(weights, (2, 2)).plot().image_.get_array())
    assert grid.shape == (5, 5, 4)
    colors = plt.get_cmap("RdBu_r")
    np.testing.assert_allclose(grid[0, 0], colors(0.5))
    np.testing.assert_allclose(grid[0, 1], colors(1.0))
    np.testing.assert_allclose(grid[1, 0], colors(0.0))
    np.testing.assert_allclose(grid[1, 1], colors(0.75))
    np.testing.assert_allclose(grid[1, 4], colors(1.0))
    np.testing.assert_allclose(grid[3:, :2].reshape(-1, 4), [colors(0.5)] * 4)
    assert not grid[2].any()
    assert not grid[3:, 3:].any()


def test_channels_first_and_last_are_the_same_picture():
    weights = np.random.default_rng(0).normal(size=(3, 4, 5, 3))
    last = make_display(weights.reshape(3, -1), (4, 5, 3)).plot()
    first = make_display(np.moveaxis(weights, -1, 1).reshape(3, -1), (3, 4, 5)).plot()
    np.testing.assert_allclose(last.image_.get_array(), first.image_.get_array())
    unit = weights[0] / np.abs(weights[0]).max()
    np.testing.assert_allclose(last.image_.get_array()[:4, :5, :3], (unit + 1) / 2)


def test_dead_and_pruned_units_are_framed_where_they_are(encoder):
    display = ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8))
    expected = {}
    for unit in range(30):
        state = "pruned" if encoder.pruned_[unit] else "dead" if encoder.dead_[unit] else None
        if state:
            expected[9 * (unit % 6) - 0.5, 9 * (unit // 6) - 0.5] = state
    colors = {to_rgba("#D55E00"): "dead", to_rgba("#000000"): "pruned"}
    found = {frame.get_xy(): colors[frame.get_edgecolor()] for frame in display.frames_}
    assert found == expected
    assert list(expected.values()).count("pruned") == 10
    assert list(expected.values()).count("dead") == 2
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["dead (2 of 30 shown)", "pruned (10 of 30 shown)"]


def test_the_histogram_counts_every_unit_and_shows_the_cut(encoder):
    display = ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8), n_units=4)
    bars = display.histogram_ax_.patches
    assert sum(bar.get_height() for bar in bars) == 30
    cut = display.cut_.get_xdata()[0]
    assert cut == encoder.prune_threshold_
    assert sum(bar.get_height() for bar in bars if bar.get_x() > cut) == 10
    legend = [text.get_text() for text in display.histogram_ax_.get_legend().get_texts()]
    assert set(legend) == {"kept (18)", "dead (2)", "pruned (10)", "cut"}


def test_a_grid_of_fewer_units_is_evenly_spaced(encoder):
    display = ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8), n_units=3)
    assert display.units.tolist() == [0, 14, 29]
    np.testing.assert_array_equal(display.weights, encoder.components_[[0, 14, 29]])


def test_axes_can_be_given_and_without_a_second_there_is_no_histogram(encoder):
    _, (left, right) = plt.subplots(1, 2)
    display = ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8), ax=left)
    assert display.ax_ is left
    assert display.histogram_ax_ is display.cut_ is None
    assert display.plot(ax=left, histogram_ax=right).histogram_ax_ is right
    assert display.figure_ is left.figure


def test_units_without_any_variance_can_be_drawn():
    display = make_display(np.zeros((2, 4)), (2, 2)).plot()
    assert display.cut_ is None


@pytest.mark.parametrize("image_shape", [(8, 9), (8,), (2, 8, 4), "8x8", (8.0, 8.0), 64])
def test_an_image_shape_that_does_not_fit_is_refused(encoder, image_shape):
    message = "The 'image_shape' parameter of ReceptiveFieldDisplay.from_estimator must be (height, width)"
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        ReceptiveFieldDisplay.from_estimator(encoder, image_shape=image_shape)


def test_an_unfitted_encoder_and_no_units_are_refused(encoder):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        ReceptiveFieldDisplay.from_estimator(WTAEncoder(), image_shape=(8, 8))
    with pytest.raises(
        ValueError, match=re.escape("'n_units' parameter of ReceptiveFieldDisplay.from_estimator")
    ):
        ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8), n_units=0)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"ax": 3},
            TypeError,
            "'ax' parameter of ReceptiveFieldDisplay.from_estimator must be matplotlib Axes",
        ),
        ({"histogram_ax": "right"}, ValueError, "'histogram_ax' parameter .* Got 'right' instead"),
        ({"encoder": StandardScaler().fit(np.eye(3))}, TypeError, "'encoder' .* must be a fitted WTAEncoder"),
        ({"encoder": 3}, TypeError, "must be a fitted estimator. Got 3"),
        ({"image_shape": (-8, -8)}, ValueError, r"'image_shape' .* for 64 features. Got \(-8, -8\)"),
        ({"image_shape": (True, 64)}, TypeError, r"'image_shape' .* for 64 features. Got \(True, 64\)"),
    ],
)
def test_what_cannot_be_drawn_or_drawn_on_is_refused(encoder, parameters, error, message):
    with pytest.raises(error, match=message):
        ReceptiveFieldDisplay.from_estimator(**({"encoder": encoder, "image_shape": (8, 8)} | parameters))
