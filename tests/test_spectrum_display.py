from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from sklearn_brm import PowerLawSpectrum, SpectrumDisplay, pipeline_spectra

RANKS = np.arange(1, 101)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 30)) / np.sqrt(np.arange(1, 31))


def labels(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_eigenvalues_are_drawn_at_their_ranks_in_log_log_axes_with_their_line():
    display = SpectrumDisplay.from_eigenvalues(3.0 / RANKS, window=(5, 50))
    spectrum, line = display.spectra_["spectrum"], display.lines_["spectrum"]
    np.testing.assert_array_equal(spectrum.get_xdata(), RANKS)
    np.testing.assert_allclose(spectrum.get_ydata(), 3.0 / RANKS)
    np.testing.assert_array_equal(line.get_xdata(), [5, 50])
    np.testing.assert_allclose(line.get_ydata(), [3.0 / 5, 3.0 / 50])
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "log")
    assert labels(display) == [r"spectrum: $\alpha$ = 1.00"]
    assert display.figure_ is display.ax_.figure


def test_what_is_not_positive_is_not_drawn():
    display = SpectrumDisplay.from_eigenvalues(np.array([4.0, 2.0, -1.0, 0.5, 0.0]), window=(1, 4))
    np.testing.assert_array_equal(display.spectra_["spectrum"].get_xdata(), [1, 2, 4])


def test_a_spectrum_without_a_fit_has_neither_line_nor_exponent():
    display = SpectrumDisplay.from_eigenvalues({"one": [1.0], "law": 1 / RANKS})
    assert labels(display) == ["one", r"law: $\alpha$ = 1.00"]
    assert list(display.lines_) == ["law"]
    assert SpectrumDisplay(eigenvalues={"bare": [2.0, 1.0]}, fits={}).plot().lines_ == {}


def test_an_estimator_is_drawn_with_its_interval(X):
    plain = PowerLawSpectrum((1, 15)).fit(X)
    sure = PowerLawSpectrum((1, 15), n_bootstrap=20, random_state=0).fit(X)
    display = SpectrumDisplay.from_estimator({"plain": plain, "sure": sure})
    low, high = sure.exponent_interval_
    exponent = rf"$\alpha$ = {plain.exponent_:.2f}"
    assert labels(display) == [f"plain: {exponent}", f"sure: {exponent} [{low:.2f}, {high:.2f}]"]
    ends = np.array([1, 15])
    expected = np.exp(plain.intercept_) * ends**-plain.exponent_
    np.testing.assert_allclose(display.lines_["plain"].get_ydata(), expected)
    with pytest.raises(NotFittedError):
        SpectrumDisplay.from_estimator(PowerLawSpectrum())


def test_a_stream_is_drawn_once_it_is_measured(X):
    stream = PowerLawSpectrum((1, 15)).partial_fit(X)
    with pytest.raises(AttributeError, match=r"'eigenvalues_': call measure\(\) after partial_fit"):
        SpectrumDisplay.from_estimator(stream)
    fitted = SpectrumDisplay.from_estimator(PowerLawSpectrum((1, 15)).fit(X))
    assert labels(SpectrumDisplay.from_estimator(stream.measure())) == labels(fitted)


def test_widths_share_a_colour_that_fades_from_the_widest(X):
    model = StandardScaler().fit(X)
    table = pipeline_spectra(model, X, widths=[10, 20], window=(1, 8), random_state=0)
    for data in (table, pd.DataFrame(table)):
        display = SpectrumDisplay.from_table(data, step="standardscaler")
        lines = list(display.spectra_.values())
        assert list(display.spectra_) == ["10 units", "20 units", "30 units"]
        assert len({line.get_color() for line in lines}) == 1
        opacities = [line.get_alpha() for line in lines]
        assert opacities == sorted(opacities)
        assert opacities[-1] == 1
        assert display.fits["20 units"].exponent == table["exponent"][2]
    noise = SpectrumDisplay.from_table(table, step="standardscaler", source="white noise")
    assert noise.fits["20 units"].exponent != display.fits["20 units"].exponent


def test_different_spectra_have_different_colours_and_share_given_axes():
    _, ax = plt.subplots()
    display = SpectrumDisplay.from_eigenvalues({"a": 1 / RANKS, "b": 2 / RANKS}, ax=ax, linewidth=5)
    assert display.ax_ is ax
    assert display.spectra_["a"].get_color() != display.spectra_["b"].get_color()
    assert display.spectra_["a"].get_linewidth() == 5
    again = display.plot()
    assert again is display
    assert display.ax_ is not ax


def test_a_missing_layer_is_named_with_those_that_are_there(X):
    table = pipeline_spectra(StandardScaler().fit(X), X, white_noise=False)
    message = (
        r"must have a spectrum of step, layer, source = \('pca', None, 'data'\)\. "
        r"Got .*'standardscaler', 'output', 'data'"
    )
    with pytest.raises(ValueError, match=message):
        SpectrumDisplay.from_table(table, step="pca")


def test_bad_eigenvalues_are_refused():
    with pytest.raises(ValueError, match="eigenvalues must be a finite, non-empty 1D array"):
        SpectrumDisplay.from_eigenvalues([])


@pytest.mark.parametrize(
    ("estimator", "ax", "error", "message"),
    [
        (
            PowerLawSpectrum(),
            3,
            TypeError,
            "'ax' parameter of SpectrumDisplay.from_estimator must be matplotlib",
        ),
        (PowerLawSpectrum(), [], TypeError, r"must be matplotlib Axes or None. Got \[\] instead"),
        (
            StandardScaler(),
            None,
            TypeError,
            "'estimator' .* must be a fitted PowerLawSpectrum or a dict of such",
        ),
        ({}, None, TypeError, r"or a dict of such by name. Got \{\} instead"),
        (PowerLawSpectrum(), None, NotFittedError, "not fitted yet"),
    ],
)
def test_what_cannot_be_drawn_or_drawn_on_is_refused(estimator, ax, error, message):
    with pytest.raises(error, match=message):
        SpectrumDisplay.from_estimator(estimator, ax=ax)


def test_a_second_axes_is_one_too_many_for_one_picture():
    axes = plt.subplots(ncols=2)[1]
    with pytest.raises(
        ValueError, match=r"'ax' parameter of SpectrumDisplay.plot must be matplotlib Axes or None"
    ):
        SpectrumDisplay(eigenvalues={"law": 1 / RANKS}, fits={}).plot(axes)


@pytest.mark.parametrize(
    ("eigenvalues", "window", "message"),
    [
        ({}, "auto", r"'eigenvalues' parameter of .* an array or a dict of one or more by name. Got \{\}"),
        ([3.0, 2.0, 1.0], "wide", r"'window' parameter of .* \(first, last\) .* Got 'wide' instead"),
        ([3.0, 2.0, 1.0], (1, 2, 3), r"'window' parameter of .* \(first, last\) .* Got \(1, 2, 3\) instead"),
    ],
)
def test_eigenvalues_and_window_must_be_such(eigenvalues, window, message):
    with pytest.raises(ValueError, match=message):
        SpectrumDisplay.from_eigenvalues(eigenvalues, window=window)


def test_any_mapping_is_taken_for_a_dict():
    display = SpectrumDisplay.from_eigenvalues(MappingProxyType({"one": 1 / np.arange(1.0, 50)}))
    assert display.ax_.get_legend_handles_labels()[1][0].startswith("one")
