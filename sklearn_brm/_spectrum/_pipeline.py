"""Spectra along a fitted Pipeline: of its input and of every layer, for data and for white noise."""

import copy
import numbers
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from .._base import (
    ParameterRule,
    any_device,
    any_seed,
    as_tensor,
    check_fitted,
    check_number,
    integer,
    one_of,
    progress,
    resolve_device,
    seeded_generator,
)
from ..functional.spectra import (
    StreamingCovariance,
    effective_rank,
    fit_power_law,
    participation_ratio,
    scatter_eigenvalues,
)
from ._estimator import PowerLawSpectrum
from ._rules import check_window, known_method

_OWNER = "pipeline_spectra"
_CHUNK_ROWS = 4096


def _check_widths(owner: object, name: str, value: list[float] | None) -> None:
    for width in _as_list(value):
        check_number(owner, name, width, "[1, inf)", kind=numbers.Integral)


_PARAMETER_RULES: MappingProxyType[str, ParameterRule] = MappingProxyType(
    {
        "widths": _check_widths,
        "window": check_window,
        "noise_window": partial(check_window, also=(None,)),
        "method": known_method,
        "white_noise": one_of(True, False),
        "device": any_device,
        "random_state": any_seed,
        "verbose": integer("[0, inf)", True, False),
    }
)


def pipeline_spectra(
    pipeline: BaseEstimator,
    X: ArrayLike,
    *,
    widths: Sequence[int] | None = None,
    window: tuple[int, int] | str = "auto",
    noise_window: tuple[int, int] | str | None = None,
    method: str = "ols",
    white_noise: bool = True,
    device: str | torch.device = "auto",
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> dict[str, list[Any]]:
    """Measure the covariance spectrum of the input and of every layer of a fitted Pipeline.

    The rows of X, and standard normal rows of the same shape, are passed through the steps. Each step's
    output is measured over all its units and over its first ones, and the power law of every spectrum is
    fitted, which gives the numbers of figures 2 and 3 of [1]_ in one call.

    Layers are the output of every transformer; the pre-activation besides, where setting the transformer's
    `power` to None gives it, as with `WTAEncoder`; and pre-activation and activation of every hidden layer of
    a last step with a method `hidden`, as `RegularizedClassifier` has. `PowerLawSpectrum` and "passthrough"
    steps change nothing and are left out.

    Parameters
    ----------
    pipeline : Pipeline or estimator
        Fitted; a lone estimator counts as a Pipeline of one step.
    X : array-like of shape (n_samples, n_features)
        Rows to measure with, not those of training if the spectrum is to be that of new data.
    widths : list of int, default=None
        Numbers of units to cut every layer to, besides all of them; widths beyond a layer's are left out. The
        input is measured whole.
    window : "auto" or (int, int), default="auto"
        Ranks to fit, as in `PowerLawSpectrum`. Where a layer is narrower, the window ends with it.
    noise_window : "auto" or (int, int), default=None
        Ranks to fit for white noise; None takes `window`.
    method : {"ols", "weighted", "robust"}, default="ols"
        How to fit, as in `PowerLawSpectrum`.
    white_noise : bool, default=True
        Whether to measure white noise too.
    device : str or torch.device, default="auto"
        Where covariances are accumulated and decomposed.
    random_state : int, RandomState instance or None, default=None
        Draws the white noise.
    verbose : int, default=0
        Above 0 shows progress over the rows.

    Returns
    -------
    table : dict of str to list
        One entry per spectrum in every column; ``pandas.DataFrame(table)`` makes a frame of it. Columns:
        "step", "layer" ("input", "output", "pre-activation" or "activation", numbered if there are several),
        "source" ("data" or "white noise"), "n_samples", "width", "exponent", "exponent_stderr", "intercept",
        "r2", "window_first", "window_last", "n_window", "effective_rank", "participation_ratio" and
        "eigenvalues" (an array each). The exponent is NaN where fewer than two ranks lie in the window.

    See Also
    --------
    PowerLawSpectrum : Measures one representation, with warnings and a confidence interval.
    SpectrumDisplay.from_table : Draws the result.

    References
    ----------
    .. [1] Holzhausen, Merlid, Torvik, Malthe-Sørenssen, Lepperød, "Exploring Biologically Inspired
       Mechanisms of Adversarial Robustness", Neural Computing and Applications, 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_brm import pipeline_spectra
    >>> X, _ = load_digits(return_X_y=True)
    >>> table = pipeline_spectra(make_pipeline(PCA(30)).fit(X), X, widths=[10], random_state=0)
    >>> list(zip(table["step"], table["source"], table["width"]))[:3]
    [('input', 'data', 64), ('pca', 'data', 10), ('pca', 'data', 30)]
    """
    _check_parameters(
        widths=widths,
        window=window,
        noise_window=noise_window,
        method=method,
        white_noise=white_noise,
        device=device,
        random_state=random_state,
        verbose=verbose,
    )
    widths = sorted({int(width) for width in _as_list(widths)})
    device = resolve_device(_OWNER, device)
    check_fitted(_OWNER, "pipeline", pipeline)
    array = check_array(X, dtype=[np.float64, np.float32], ensure_min_samples=2, input_name="X")
    windows = {"data": window, "white noise": window if noise_window is None else noise_window}
    rng = seeded_generator(_OWNER, random_state)
    makers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "data": lambda rows: rows,
        "white noise": partial(_white_noise, rng=rng),
    }
    records = []
    for source in windows if white_noise else ["data"]:
        starts = progress(range(0, len(array), _CHUNK_ROWS), verbose=verbose, description=f"{source} spectra")
        chunks = (makers[source](array[start : start + _CHUNK_ROWS]) for start in starts)
        covariances = _covariances(pipeline, (_like(X, chunk) for chunk in chunks), device)
        for (step, layer), covariance in covariances.items():
            head = {"step": step, "layer": layer, "source": source, "n_samples": covariance.n_samples}
            cuts = [] if layer == "input" else widths
            records += [head | row for row in _rows(covariance, cuts, windows[source], method)]
    return {column: [record[column] for record in records] for column in records[0]}


def _check_parameters(**parameters: Any) -> None:
    for name, rule in _PARAMETER_RULES.items():
        rule(_OWNER, name, parameters[name])


def _as_list(widths: Any) -> list[np.float64]:
    return [] if widths is None else list(np.atleast_1d(widths))


def _white_noise(rows: Any, rng: np.random.RandomState) -> np.ndarray:
    return rng.standard_normal(rows.shape).astype(rows.dtype)


def _like(X: Any, rows: Any) -> Any:
    """Give rows the column names of `X`, so that steps fitted on a frame find their columns."""
    return type(X)(rows, columns=X.columns) if hasattr(X, "columns") else rows


def _covariances(
    pipeline: BaseEstimator, chunks: Iterator[Any], device: torch.device
) -> dict[tuple[str, str], StreamingCovariance]:
    """Return the covariance of every layer by (step, layer), over all chunks."""
    covariances = {}
    for chunk in chunks:
        for step, layer, rows in _layers(pipeline, chunk):
            rows = check_array(rows, ensure_min_features=0)
            if (step, layer) not in covariances:
                covariances[step, layer] = StreamingCovariance(rows.shape[1], device=device)
            covariances[step, layer].update(as_tensor(rows))
    return covariances


def _layers(pipeline: BaseEstimator, rows: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (step, layer, representation) along a Pipeline."""
    yield "input", "input", rows
    for name, step in getattr(pipeline, "steps", [(type(pipeline).__name__.lower(), pipeline)]):
        if isinstance(step, (str, PowerLawSpectrum)) or step is None:
            continue
        if hasattr(step, "hidden"):
            yield from _hidden_layers(name, step, rows)
        if not hasattr(step, "transform"):
            return
        bare = _without_activation(step)
        if bare is not None:
            yield name, "pre-activation", bare.transform(rows)
        rows = step.transform(rows)
        yield name, "output" if bare is None else "activation", rows


def _hidden_layers(name: str, step: Any, rows: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    n_hidden = len(step.coefs_) - 1
    for i in range(n_hidden):
        number = f" {i + 1}" if n_hidden > 1 else ""
        yield name, f"pre-activation{number}", step.hidden(rows, layer=i, activation=False)
        yield name, f"activation{number}", step.hidden(rows, layer=i, activation=True)


def _without_activation(step: Any) -> BaseEstimator | None:
    """Return a transformer that stops before its rectified power, or None if it has none."""
    # Of patches the power comes between comparing units and pooling: there is no place before it alone.
    if getattr(step, "power", None) is None or hasattr(step, "activation"):
        return None
    return copy.copy(step).set_params(power=None)


def _rows(
    covariance: StreamingCovariance, cuts: list[int], window: tuple[int, int] | str, method: str
) -> Iterator[dict[str, Any]]:
    """Yield the columns of a table for a layer cut to several widths."""
    matrix, n_samples = covariance.covariance(), covariance.n_samples
    for width in [*(cut for cut in cuts if cut < len(matrix)), len(matrix)]:
        values = scatter_eigenvalues(matrix[:width, :width])[:n_samples]
        fit = fit_power_law(values, window, method=method, n_samples=n_samples, n_features=width)
        yield {
            "width": width,
            "exponent": fit.exponent,
            "exponent_stderr": fit.stderr,
            "intercept": fit.intercept,
            "r2": fit.r2,
            "window_first": fit.window[0],
            "window_last": fit.window[1],
            "n_window": fit.n_points,
            "effective_rank": effective_rank(values),
            "participation_ratio": participation_ratio(values),
            "eigenvalues": values,
        }
