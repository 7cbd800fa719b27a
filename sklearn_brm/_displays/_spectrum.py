"""Spectra in log-log axes, each with its fitted power law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._base import as_numbers, check_choice, parameter_error
from .._spectrum import PowerLawSpectrum
from .._spectrum._rules import check_window, known_method
from ..functional.spectra import PowerLawFit, fit_power_law
from ._style import check_axes, legend_above, resolve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Opacity of the narrowest of several spectra that fade; the widest is drawn in full.
_FAINTEST = 0.25


class SpectrumDisplay:
    """Eigenvalues against their rank in log-log axes, with the fitted power laws.

    It is recommended to use `from_estimator`, `from_eigenvalues` or `from_table` to create one. All
    parameters are stored as attributes.

    Parameters
    ----------
    eigenvalues : dict of str to array-like
        Spectra by name. Values that are not positive have no place in log-log axes and are not drawn.
    fits : dict of str to PowerLawFit
        The fitted line of each spectrum; names without one are drawn without a line.
    intervals : dict of str to (float, float), default=None
        Confidence interval of the exponent, for the legend.
    fading : bool, default=False
        Whether to draw the spectra in one colour that fades from the last, as for growing widths of one
        layer, rather than in a colour each.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.
    spectra_ : dict of str to matplotlib Line2D
        The eigenvalues of each spectrum.
    lines_ : dict of str to matplotlib Line2D
        The fitted line of each spectrum, over its window.

    See Also
    --------
    PowerLawSpectrum : Measures a spectrum.
    pipeline_spectra : Measures all layers of a Pipeline.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_brm import SpectrumDisplay
    >>> ranks = np.arange(1, 101)
    >>> spectra = {"steep": ranks**-2.0, "flat": ranks**-0.5}
    >>> display = SpectrumDisplay.from_eigenvalues(spectra, window=(5, 50))
    >>> round(display.fits["steep"].exponent, 6), list(display.lines_)
    (2.0, ['steep', 'flat'])
    """

    ax_: Axes
    figure_: Figure
    spectra_: dict[str, Line2D]
    lines_: dict[str, Line2D]

    def __init__(
        self,
        *,
        eigenvalues: dict[str, np.ndarray],
        fits: dict[str, PowerLawFit],
        intervals: dict[str, tuple[float, float]] | None = None,
        fading: bool = False,
    ) -> None:
        self.eigenvalues = eigenvalues
        self.fits = fits
        self.intervals = intervals
        self.fading = fading

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Mapping[str, BaseEstimator],
        *,
        fading: bool = False,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw what one fitted `PowerLawSpectrum`, or several, have measured.

        Parameters
        ----------
        estimator : PowerLawSpectrum or dict of str to PowerLawSpectrum
            Fitted, or measured after `partial_fit`; by name if there are several.
        fading : bool, default=False
            Whether the spectra share one colour that fades from the last.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `plot` for the eigenvalues.

        Returns
        -------
        display : SpectrumDisplay
            The picture and what is in it.
        """
        owner = f"{cls.__name__}.from_estimator"
        check_axes(owner, ax)
        check_choice(owner, "fading", fading, (True, False))
        estimators: Mapping[str, Any] = (
            estimator if isinstance(estimator, Mapping) else {"spectrum": estimator}
        )
        if not estimators or not all(isinstance(one, PowerLawSpectrum) for one in estimators.values()):
            rule = "a fitted PowerLawSpectrum or a dict of such by name"
            raise parameter_error(owner, "estimator", rule, estimator)
        for one in estimators.values():
            check_is_fitted(one)
        display = cls(
            eigenvalues={name: one.eigenvalues_ for name, one in estimators.items()},
            fits={name: _fit_of(one) for name, one in estimators.items()},
            intervals={
                name: one.exponent_interval_
                for name, one in estimators.items()
                if hasattr(one, "exponent_interval_")
            },
            fading=fading,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_eigenvalues(
        cls,
        eigenvalues: ArrayLike | Mapping[str, ArrayLike],
        *,
        window: tuple[int, int] | str = "auto",
        method: str = "ols",
        fading: bool = False,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Fit and draw given eigenvalues.

        Parameters
        ----------
        eigenvalues : array-like of shape (n_eigenvalues,) or dict of str to array-like
            In falling order, by name if there are several.
        window : "auto" or (int, int), default="auto"
            Ranks to fit, 1-based and inclusive.
        method : {"ols", "weighted", "robust"}, default="ols"
            How to fit, as in `PowerLawSpectrum`.
        fading : bool, default=False
            Whether the spectra share one colour that fades from the last.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `plot` for the eigenvalues.

        Returns
        -------
        display : SpectrumDisplay
            The picture and what is in it.

        Raises
        ------
        ValueError
            If eigenvalues are not a finite one-dimensional array, or the window or method is not one of the
            above.
        """
        owner = f"{cls.__name__}.from_eigenvalues"
        check_axes(owner, ax)
        check_choice(owner, "fading", fading, (True, False))
        known_method(owner, "method", method)
        check_window(owner, "window", window)
        given: Mapping[str, Any] = (
            eigenvalues if isinstance(eigenvalues, Mapping) else {"spectrum": eigenvalues}
        )
        rule = "an array or a dict of one or more by name"
        if not given:
            raise parameter_error(owner, "eigenvalues", rule, eigenvalues, ValueError)
        spectra = {name: as_numbers(owner, "eigenvalues", one, rule) for name, one in given.items()}
        fits = {name: fit_power_law(values, window, method=method) for name, values in spectra.items()}
        return cls(eigenvalues=spectra, fits=fits, fading=fading).plot(ax=ax, **kwargs)

    @classmethod
    def from_table(
        cls,
        table: Mapping[str, ArrayLike],
        *,
        step: str,
        layer: str | None = None,
        source: str = "data",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the widths of one layer from the result of `pipeline_spectra`, fading from the widest.

        Parameters
        ----------
        table : dict or DataFrame
            What `pipeline_spectra` returned.
        step : str
            Name of the step.
        layer : str, default=None
            Name of the layer; None takes the step's only or last one.
        source : {"data", "white noise"}, default="data"
            What went through the steps.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `plot` for the eigenvalues.

        Returns
        -------
        display : SpectrumDisplay
            The picture and what is in it.

        Raises
        ------
        ValueError
            If the table has no such spectrum.
        """
        owner = f"{cls.__name__}.from_table"
        check_axes(owner, ax)
        for name, value in {"step": step, "layer": layer, "source": source}.items():
            if not isinstance(value, str) and not (name == "layer" and value is None):
                raise parameter_error(owner, name, "a str, as in the table", value)
        rows = _records(owner, table)
        at_step = [row for row in rows if (row["step"], row["source"]) == (step, source)]
        layer = at_step[-1]["layer"] if at_step and layer is None else layer
        found = {f"{row['width']} units": row for row in at_step if row["layer"] == layer}
        if not found:
            choices = sorted({(row["step"], row["layer"], row["source"]) for row in rows})
            wanted = f"step, layer, source = {(step, layer, source)}"
            raise ValueError(f"The table must have a spectrum of {wanted}. Got {choices} instead.")
        return cls(
            eigenvalues={name: row["eigenvalues"] for name, row in found.items()},
            fits={name: _fit_of_row(row) for name, row in found.items()},
            fading=True,
        ).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the spectra, their lines, and a legend with the exponents.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Handed to matplotlib's `plot` for the eigenvalues.

        Returns
        -------
        display : SpectrumDisplay
            This object.
        """
        (self.ax_,) = resolve_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = self.ax_.figure
        self.spectra_, self.lines_ = {}, {}
        opacities = np.geomspace(_FAINTEST, 1, len(self.eigenvalues)) if self.fading else None
        color = None
        for i, (name, values) in enumerate(self.eigenvalues.items()):
            style = {} if opacities is None else {"alpha": opacities[i], "color": color}
            color = self._plot_one(name, values, style | kwargs).get_color()
        self.ax_.set(xscale="log", yscale="log", xlabel="rank $n$", ylabel=r"eigenvalue $\lambda_n$")
        legend_above(self.ax_)
        return self

    def _plot_one(self, name: str, values: list[float] | np.ndarray, style: dict[str, Any]) -> Line2D:
        values = np.asarray(values, dtype=float)
        ranks = np.flatnonzero(values > 0) + 1
        default = {"linewidth": 0.8, "marker": ".", "markersize": 3, "label": self._label(name)}
        (self.spectra_[name],) = self.ax_.plot(ranks, values[ranks - 1], **(default | style))
        fit = self.fits.get(name)
        if fit is not None and np.isfinite(fit.exponent):
            # Black on every colour, and thin enough to show the eigenvalues that it stands for.
            dashes = {"color": "black", "linestyle": "--", "linewidth": 1.2, "zorder": 3}
            fitted = fit.predict(fit.window)
            (self.lines_[name],) = self.ax_.plot(fit.window, fitted, alpha=style.get("alpha"), **dashes)
        return self.spectra_[name]

    def _label(self, name: str) -> str:
        fit = self.fits.get(name)
        if fit is None or not np.isfinite(fit.exponent):
            return name
        label = rf"{name}: $\alpha$ = {fit.exponent:.2f}"
        low, high = (self.intervals or {}).get(name, (np.nan, np.nan))
        return f"{label} [{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else label


def _fit_of(estimator: BaseEstimator) -> PowerLawFit:
    return PowerLawFit(
        estimator.exponent_,
        estimator.exponent_stderr_,
        estimator.intercept_,
        estimator.r2_,
        estimator.window_,
        estimator.n_window_,
    )


def _fit_of_row(row: dict[str, Any]) -> PowerLawFit:
    window = (row["window_first"], row["window_last"])
    return PowerLawFit(
        row["exponent"], row["exponent_stderr"], row["intercept"], row["r2"], window, row["n_window"]
    )


def _records(owner: object, table: Any) -> list[dict[str, Any]]:
    if not {"step", "layer", "source", "eigenvalues"} <= set(getattr(table, "keys", tuple)()):
        raise parameter_error(owner, "table", "what pipeline_spectra returned", table, TypeError)
    columns = [list(table[column]) for column in table]
    return [dict(zip(table, row)) for row in zip(*columns)]
