"""PowerLawSpectrum: measure how fast the covariance eigenvalues of a representation fall."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from .._base import (
    DocLinkMixin,
    any_device,
    any_seed,
    as_tensor,
    check_parameters,
    integer,
    number,
    parameter_error,
    progress,
    resolve_device,
    seeded_generator,
)
from .._device import float64_device
from ..functional.layers import sequence
from ..functional.spectra import (
    StreamingCovariance,
    bootstrap_cv_exponent,
    bootstrap_exponent,
    compare_laws,
    cv_pca,
    effective_rank,
    fit_power_law,
    last_trusted_rank,
    participation_ratio,
    sample_eigenvalues,
)
from ._rules import check_window, known_method

if TYPE_CHECKING:
    from ..functional.spectra import LawComparison, PowerLawFit

_DTYPES = [np.float64, np.float32]
# What partial_fit removes; measure brings back all but those of the resampled rows.
_MEASURED = (
    "eigenvalues_",
    "exponent_",
    "exponent_stderr_",
    "intercept_",
    "r2_",
    "window_",
    "n_window_",
    "effective_rank_",
    "participation_ratio_",
)
_RESAMPLED = ("exponent_interval_", "exponent_bias_")
_FEW_POINTS = 10


class SpectrumWarning(UserWarning):
    """A spectrum was measured, but its exponent deserves less trust than usual."""


class PowerLawSpectrum(OneToOneFeatureMixin, DocLinkMixin, TransformerMixin, BaseEstimator):
    """Measure the power law that the covariance eigenvalues of a representation follow.

    The eigenvalue of rank n is modelled as ``exp(intercept_) * n ** -exponent_`` inside a window of ranks.
    `transform` returns its input, so that the estimator can stand anywhere in a Pipeline as a probe.

    Parameters
    ----------
    window : "auto" or (int, int), default="auto"
        First and last rank of the fit, 1-based and inclusive. "auto" takes the widest window in which the
        slope is stable, away from the last ranks; see :func:`~sklearn_brm.functional.spectra.choose_window`.
    method : {"ols", "weighted", "robust"}, default="ols"
        Line through log eigenvalue against log rank: ordinary least squares, least squares weighted by 1/n
        [1]_, or the Theil-Sen median of pairwise slopes.
    n_components : int, default=None
        Number of leading eigenvalues to keep; None keeps min(n_samples, n_features). `effective_rank_` and
        `participation_ratio_` are of the whole spectrum in any case.
    confidence : float, default=0.95
        Nominal coverage of `exponent_interval_`.
    n_bootstrap : int, default=0
        Number of resamples of the rows behind `exponent_interval_`; 0 leaves it out. 200 are enough for 95%.
        Each costs one eigenvalue problem, and 160 more calibrate them.
    n_shuffles : int, default=5
        Number of random swaps of the two repeats, for `X_repeat` only.
    device : str or torch.device, default="auto"
        Where matrices are multiplied and decomposed, always in float64.
    random_state : int, RandomState instance or None, default=None
        Draws the resamples and the shuffles.
    verbose : int, default=0
        Above 0 shows the progress of the bootstrap.

    Attributes
    ----------
    eigenvalues_ : ndarray of shape (n_eigenvalues,)
        Eigenvalues of the covariance with divisor n_samples - 1, falling, as ``PCA.explained_variance_``;
        with `X_repeat`, cross-validated ones in the order of their axes, which may be negative.
    exponent_ : float
        Exponent of the eigenvalue against its rank, NaN with fewer than two positive eigenvalues in the
        window. What the formula gives on the sample eigenvalues, as it is reported in the literature: its
        bias by finite samples is in it.
    exponent_stderr_ : float
        Standard error of the exponent from the scatter about the line. Eigenvalues are not independent: a
        measure of straightness, not of certainty.
    exponent_interval_ : tuple of two float
        Confidence interval for the exponent of the population, corrected for the bias of finite samples; it
        may therefore leave out `exponent_`. Only with `n_bootstrap` > 0.
    exponent_bias_ : float
        Estimated bias of `exponent_`; ``exponent_ - exponent_bias_`` is the estimate for the population. Only
        with `n_bootstrap` > 0, and NaN with `X_repeat`.
    intercept_ : float
        Natural logarithm of the fitted eigenvalue of rank 1.
    r2_ : float
        Share of the variance of the log eigenvalues that the line explains.
    window_ : tuple of two int
        The window used.
    n_window_ : int
        Number of positive eigenvalues in it.
    effective_rank_ : float
        Exponential of the entropy of the normalised eigenvalues [2]_.
    participation_ratio_ : float
        Squared sum of the eigenvalues over the sum of their squares.
    n_samples_seen_ : int
        Number of rows measured.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, if all were strings.

    See Also
    --------
    pipeline_spectra : Measure every step of a fitted Pipeline at several widths.
    sklearn.decomposition.PCA : Computes the same eigenvalues, and the axes.

    Notes
    -----
    The exponent is that of eigenvalue against rank, alpha in [1]_; an exponent gamma of the *density* of
    eigenvalues is 1 + 1/alpha, see :func:`~sklearn_brm.functional.spectra.rank_to_density_exponent`.

    `partial_fit` keeps one n_features x n_features matrix, and `measure` decomposes it: results of a stream
    are there from the call of `measure` to that of the next `partial_fit`.

    The same data, in the same chunks, give the same bits on the same kind of processor with the same number
    of threads; with another number, products are summed in another order, and results agree to rounding.

    References
    ----------
    .. [1] C. Stringer, M. Pachitariu, N. Steinmetz, M. Carandini, K. D. Harris, "High-dimensional geometry of
       population responses in visual cortex", Nature 571, 2019.
    .. [2] O. Roy, M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_brm import PowerLawSpectrum
    >>> scale = np.arange(1, 101) ** -0.5  # eigenvalues fall as 1/n
    >>> X = np.random.default_rng(0).normal(size=(5000, 100)) * scale
    >>> spectrum = PowerLawSpectrum(window=(1, 50)).fit(X)
    >>> round(spectrum.exponent_, 1), spectrum.window_
    (1.0, (1, 50))
    """

    eigenvalues_: NDArray[np.float64]
    exponent_: float
    exponent_stderr_: float
    exponent_interval_: tuple[float, float]
    exponent_bias_: float
    intercept_: float
    r2_: float
    window_: tuple[int, int]
    n_window_: int
    effective_rank_: float
    participation_ratio_: float
    n_samples_seen_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    _covariance: StreamingCovariance | None

    _parameter_rules = MappingProxyType(
        {
            "window": check_window,
            "method": known_method,
            "n_components": integer("[1, inf)", None),
            "confidence": number("(0, 1)"),
            "n_bootstrap": integer("[0, inf)"),
            "n_shuffles": integer("[1, inf)"),
            "device": any_device,
            "random_state": any_seed,
            "verbose": integer("[0, inf)", True, False),
        }
    )

    def __init__(
        self,
        window: tuple[int, int] | str = "auto",
        *,
        method: str = "ols",
        n_components: int | None = None,
        confidence: float = 0.95,
        n_bootstrap: int = 0,
        n_shuffles: int = 5,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.window = window
        self.method = method
        self.n_components = n_components
        self.confidence = confidence
        self.n_bootstrap = n_bootstrap
        self.n_shuffles = n_shuffles
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None, *, X_repeat: ArrayLike | None = None) -> Self:
        """Measure the spectrum of the covariance of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least 2 rows; 3 per feature before the exponent means much.
        y : None
            Ignored.
        X_repeat : array-like of shape (n_samples, n_features), default=None
            A second measurement of the same samples with independent noise. The spectrum is then that of the
            signal, by cross-validated PCA.

        Returns
        -------
        self : PowerLawSpectrum
            The fitted estimator.
        """
        check_parameters(self)
        X = cast(np.ndarray, validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2))
        self._check_shape(*X.shape)
        rows, device = as_tensor(X), self._device()
        repeat = None if X_repeat is None else as_tensor(self._check_repeat(X, X_repeat), device=device)
        self._forget_results()
        self.n_samples_seen_ = len(X)
        self._covariance = None
        if repeat is None:
            self._fit_rows(rows, device)
        else:
            self._fit_repeats(rows.to(device), repeat)
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Add rows to the covariance, of which `measure` then makes the results.

        Chunks of any size give the spectrum of all rows together, to rounding. `fit` starts anew, and
        `partial_fit` goes on from it, without its results, which would be those of fewer rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            One row or more.
        y : None
            Ignored.

        Returns
        -------
        self : PowerLawSpectrum
            The estimator, without results until `measure` is called.
        """
        check_parameters(self)
        first_call = not hasattr(self, "n_samples_seen_")
        X = cast(np.ndarray, validate_data(self, X, dtype=_DTYPES, reset=first_call))
        self._check_shape(None, X.shape[1])
        device = self._device()
        if first_call:
            self._covariance = StreamingCovariance(X.shape[1], device=device)
        covariance = self._kept_covariance("partial_fit")
        self._forget_results()
        covariance.to(device).update(as_tensor(X, device=device))
        self.n_samples_seen_ = covariance.n_samples
        return self

    def measure(self) -> Self:
        """Measure the spectrum of all rows so far, from the covariance that `partial_fit` has collected.

        Call it after the last chunk, or after any chunk: more may follow. Called after another `window`,
        `method` or `n_components` was set, it measures the same rows anew. No rows are kept to resample:
        there is no interval, whatever `n_bootstrap`, and that of a `fit` is removed.

        Returns
        -------
        self : PowerLawSpectrum
            The estimator with its results.

        Raises
        ------
        ValueError
            With fewer than two rows, or after a `fit` on repeats or on fewer rows than features, which keeps
            no covariance.
        """
        check_parameters(self)
        check_is_fitted(self, "n_samples_seen_")
        covariance = self._kept_covariance("measure").to(self._device())
        if covariance.n_samples < 2:
            raise ValueError(
                "A spectrum takes 2 rows or more. Got 1 row in all calls of partial_fit instead."
            )
        self._check_shape(covariance.n_samples, self.n_features_in_)
        self._forget_results()
        self._measure_covariance()
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return X unchanged.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the features seen during `fit`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The same rows.
        """
        check_is_fitted(self)
        return validate_data(self, X, dtype=_DTYPES, reset=False)

    def compare_laws(self) -> LawComparison:
        """Compare the power law with other laws for the same eigenvalues, those in `window_`.

        Finite samples bend a power law, so that a broken one may be best by a small lead.

        Returns
        -------
        comparison : LawComparison
            `best`, the name of the law that describes the eigenvalues best, and `criteria`, the Bayesian
            information criterion of "power_law", "exponential" and "broken_power_law", by which the smallest
            is best. See :func:`~sklearn_brm.functional.spectra.compare_laws`.
        """
        check_is_fitted(self)
        return compare_laws(self.eigenvalues_, self.window_)

    def __getattr__(self, name: str) -> Any:
        # Only names that are missing come here. Nothing is computed: `hasattr` and displays ask, too.
        waiting = name in _MEASURED and "n_samples_seen_" in self.__dict__
        advice = ": call measure() after partial_fit" if waiting else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{advice}")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _as_torch(self, *, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
        return sequence()

    def _device(self) -> torch.device:
        return float64_device(resolve_device(self, self.device))

    def _check_shape(self, n_samples: int | None, n_features: int) -> None:
        n_eigenvalues = n_features if n_samples is None else min(n_samples, n_features)
        limits = f"n_features={n_features}" if n_samples is None else f"{n_samples=}, {n_features=}"
        if self.n_components is not None and self.n_components > n_eigenvalues:
            rule = f"at most the number of eigenvalues, {n_eigenvalues} ({limits})"
            raise parameter_error(self, "n_components", rule, self.n_components, ValueError)
        if not isinstance(self.window, str) and self.window[0] >= (self.n_components or n_eigenvalues):
            rule = f"'auto' or (first, last) with first below the number of eigenvalues ({limits})"
            raise parameter_error(self, "window", rule, self.window, ValueError)

    def _check_repeat(self, X: Any, X_repeat: Any) -> np.ndarray:
        X_repeat = validate_data(self, X_repeat, dtype=_DTYPES, reset=False)
        if len(X_repeat) != len(X):
            raise ValueError(
                f"X and X_repeat must have the same rows. Got {len(X)} and {len(X_repeat)} samples instead."
            )
        return X_repeat

    def _kept_covariance(self, call: str) -> StreamingCovariance:
        if self._covariance is None:
            raise ValueError(
                f"{call} cannot go on from a fit on repeats or on fewer rows than features, which keeps no "
                "covariance. Call partial_fit on all chunks, or fit on all rows."
            )
        return self._covariance

    def _forget_results(self) -> None:
        for name in (*_MEASURED, *_RESAMPLED):
            self.__dict__.pop(name, None)

    def _fit_rows(self, rows: Tensor, device: torch.device) -> None:
        n_samples, n_features = rows.shape
        if n_samples >= n_features:
            # The rows reach the device block by block, so that it need not hold all of them.
            self._covariance = StreamingCovariance(n_features, device=device).update(rows)
            line = self._measure_covariance()
        else:
            n_constant = int((rows == rows[0]).all(dim=0).sum())
            line = self._store_results(sample_eigenvalues(rows.to(device)), n_constant)
        if self.n_bootstrap:
            rng = seeded_generator(self, self.random_state)
            self._bootstrap(bootstrap_exponent, rows.to(device), line, rng=rng)

    def _measure_covariance(self) -> PowerLawFit:
        covariance = self._kept_covariance("measure")
        # The mean of equal numbers is right to rounding only.
        rounding = 10 * torch.finfo(torch.float64).eps * covariance.mean.abs()
        n_constant = int((covariance.variances() <= rounding**2).sum())
        return self._store_results(covariance.eigenvalues(), n_constant)

    def _fit_repeats(self, rows: Tensor, repeat: Tensor) -> None:
        random_state = seeded_generator(self, self.random_state)
        eigenvalues = cv_pca(rows, repeat, n_shuffles=int(self.n_shuffles), rng=random_state).mean(axis=0)
        line = self._store_results(eigenvalues, n_constant=0)
        if self.n_bootstrap:
            self._bootstrap(bootstrap_cv_exponent, rows, repeat, line, rng=random_state)

    def _bootstrap(
        self, resample: Callable[..., Any], *data: PowerLawFit | Tensor, rng: np.random.RandomState
    ) -> None:
        bootstrap = resample(
            *data,
            method=self.method,
            confidence=float(self.confidence),
            n_resamples=int(self.n_bootstrap),
            rng=rng,
            progress=partial(progress, verbose=self.verbose, description="bootstrap"),
        )
        self.exponent_interval_ = bootstrap.interval
        self.exponent_bias_ = bootstrap.bias

    def _store_results(self, eigenvalues: np.ndarray, n_constant: int) -> PowerLawFit:
        """Store and return what follows from the eigenvalues, and warn of what makes it doubtful."""
        kept = eigenvalues[: self.n_components]
        sizes = {"n_samples": self.n_samples_seen_, "n_features": self.n_features_in_}
        fit = fit_power_law(kept, self.window, method=self.method, **sizes)
        self.eigenvalues_ = kept
        self.effective_rank_ = effective_rank(eigenvalues)
        self.participation_ratio_ = participation_ratio(eigenvalues)
        self.exponent_, self.exponent_stderr_ = fit.exponent, fit.stderr
        self.intercept_, self.r2_ = fit.intercept, fit.r2
        self.window_, self.n_window_ = fit.window, fit.n_points
        doubts = list(_doubts(fit, **sizes, n_eigenvalues=len(eigenvalues), n_constant=n_constant))
        if doubts:
            warnings.warn(
                f"The exponent deserves caution: {'; '.join(doubts)}.", SpectrumWarning, stacklevel=2
            )
        return fit


def _doubts(
    fit: PowerLawFit, *, n_samples: int, n_features: int, n_eigenvalues: int, n_constant: int
) -> Iterator[str]:
    """Yield a phrase for each reason to distrust a fit."""
    n_varying = n_features - n_constant
    if n_samples < 3 * n_varying:
        yield (
            f"{n_samples} samples for {n_varying} features are fewer than 3 per feature, and the sample "
            "eigenvalues fall faster than the population's (measure more rows, or end the window early)"
        )
    if n_constant:
        yield f"{n_constant} of {n_features} features are constant and only add zero eigenvalues (drop them)"
    if fit.window[1] > max(0.9 * n_eigenvalues, 1):
        yield (
            f"the window reaches rank {fit.window[1]} of {n_eigenvalues}, and the last ranks drop whatever "
            f"the data (end it at rank {last_trusted_rank(n_features, n_samples)})"
        )
    n_left_out = fit.window[1] - fit.window[0] + 1 - fit.n_points
    if n_left_out:
        yield f"{n_left_out} eigenvalues in the window are not positive and were left out"
    if fit.n_points < _FEW_POINTS:
        yield f"the window holds {fit.n_points} eigenvalues where {_FEW_POINTS} are few (widen it)"
