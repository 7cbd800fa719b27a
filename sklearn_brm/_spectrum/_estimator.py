"""PowerLawSpectrum: measure how fast the covariance eigenvalues of a representation fall."""

import numbers
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_brm._base import (
    DocLinkMixin,
    as_tensor,
    check_choice,
    check_number,
    parameter_error,
    progress,
    resolve_device,
    seeded_generator,
)
from sklearn_brm._device import float64_device

from ..functional.layers import sequence
from ..functional.spectra import (
    StreamingCovariance,
    bootstrap_cv_exponent,
    bootstrap_exponent,
    compare_models,
    cv_pca,
    effective_rank,
    fit_power_law,
    last_trusted_rank,
    participation_ratio,
    sample_eigenvalues,
)

_DTYPES = [np.float64, np.float32]
METHODS = ("ols", "weighted", "robust")
# Results of a measurement; partial_fit removes them, and they come back when one is asked for.
_MEASURED = (
    "eigenvalues_",
    "exponent_",
    "exponent_stderr_",
    "exponent_interval_",
    "exponent_bias_",
    "intercept_",
    "r2_",
    "window_",
    "n_window_",
    "effective_rank_",
    "participation_ratio_",
)
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
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all were strings.

    See Also
    --------
    pipeline_spectra : Measure every step of a fitted Pipeline at several widths.
    sklearn.decomposition.PCA : Computes the same eigenvalues, and the axes.

    Notes
    -----
    The exponent is that of eigenvalue against rank, alpha in [1]_; an exponent gamma of the *density* of
    eigenvalues is 1 + 1/alpha, see :func:`~sklearn_brm.functional.spectra.rank_to_density_exponent`.

    `partial_fit` keeps one n_features x n_features matrix and decomposes it when a result is first asked for.

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

    def __init__(
        self,
        window="auto",
        *,
        method="ols",
        n_components=None,
        confidence=0.95,
        n_bootstrap=0,
        n_shuffles=5,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.window = window
        self.method = method
        self.n_components = n_components
        self.confidence = confidence
        self.n_bootstrap = n_bootstrap
        self.n_shuffles = n_shuffles
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None, *, X_repeat=None):
        """Measure the spectrum of the covariance of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least 2 rows; 3 per feature before the exponent means much.
        y : None
            Ignored.
        X_repeat : array-like of shape (n_samples, n_features), default=None
            A second measurement of the same samples with independent noise. The spectrum is then that of the
            signal, by cross-validated PCA [1]_.

        Returns
        -------
        self : PowerLawSpectrum
            The fitted estimator.
        """
        device = self._check_parameters()
        X = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        self._check_shape(*X.shape)
        rows = as_tensor(X)
        repeat = None if X_repeat is None else as_tensor(self._check_repeat(X, X_repeat), device=device)
        self._forget_results()
        self.n_samples_seen_ = len(X)
        self._covariance = None
        if repeat is None:
            self._fit_rows(rows, device)
        else:
            self._fit_repeats(rows.to(device), repeat)
        return self

    def partial_fit(self, X, y=None):
        """Add rows to the covariance; results follow when they are asked for.

        Chunks of any size give the spectrum of all rows together, to rounding. `fit` starts anew, and
        `partial_fit` goes on from it. No rows are kept to resample: there is no interval, whatever
        `n_bootstrap`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            One row or more.
        y : None
            Ignored.

        Returns
        -------
        self : PowerLawSpectrum
            The estimator.
        """
        device = self._check_parameters()
        first_call = not hasattr(self, "n_samples_seen_")
        X = validate_data(self, X, dtype=_DTYPES, reset=first_call)
        self._check_shape(None, X.shape[1])
        if first_call:
            self._covariance = StreamingCovariance(X.shape[1], device=device)
        elif self._covariance is None:
            raise ValueError(
                "partial_fit cannot go on from a fit on repeats or on fewer rows than features, which keeps "
                "no covariance. Call partial_fit on all chunks, or fit on all rows."
            )
        self._forget_results()
        self._covariance.to(device).update(as_tensor(X, device=device))
        self.n_samples_seen_ = self._covariance.n_samples
        return self

    def transform(self, X):
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

    def goodness(self):
        """Compare the power law with other laws in the same window.

        Returns
        -------
        criterion : dict of str to float
            Bayesian information criterion of "power_law", "exponential" and "broken_power_law"; the smallest
            fits best. See :func:`~sklearn_brm.functional.spectra.compare_models`.
        """
        check_is_fitted(self)
        return compare_models(self.eigenvalues_, self.window_)

    def __getattr__(self, name):
        # Only names that are missing come here: after partial_fit, results wait until someone looks.
        covariance = self.__dict__.get("_covariance")
        waiting = covariance is not None and covariance.n_samples > 1 and "eigenvalues_" not in self.__dict__
        if name in _MEASURED and waiting:
            self._measure_covariance()
            return getattr(self, name)
        few = name in _MEASURED and covariance is not None and covariance.n_samples < 2
        why = ": a spectrum takes two rows or more" if few else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{why}")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _as_torch(self, *, device, dtype):
        return sequence()

    def _check_parameters(self):
        check_window(self, self.window)
        check_choice(self, "method", self.method, METHODS)
        check_number(self, "n_components", self.n_components, "[1, inf)", kind=numbers.Integral, also=(None,))
        check_number(self, "confidence", self.confidence, "(0, 1)")
        check_number(self, "n_bootstrap", self.n_bootstrap, "[0, inf)", kind=numbers.Integral)
        check_number(self, "n_shuffles", self.n_shuffles, "[1, inf)", kind=numbers.Integral)
        check_number(self, "verbose", self.verbose, "[0, inf)", kind=numbers.Integral, also=(True, False))
        return float64_device(resolve_device(self, self.device))

    def _check_shape(self, n_samples, n_features):
        n_eigenvalues = n_features if n_samples is None else min(n_samples, n_features)
        limits = f"n_features={n_features}" if n_samples is None else f"{n_samples=}, {n_features=}"
        if self.n_components is not None and self.n_components > n_eigenvalues:
            rule = f"at most the number of eigenvalues, {n_eigenvalues} ({limits})"
            raise parameter_error(self, "n_components", rule, self.n_components, ValueError)
        if not isinstance(self.window, str) and self.window[0] >= (self.n_components or n_eigenvalues):
            rule = f"'auto' or (first, last) with first below the number of eigenvalues ({limits})"
            raise parameter_error(self, "window", rule, self.window, ValueError)

    def _check_repeat(self, X, X_repeat):
        X_repeat = validate_data(self, X_repeat, dtype=_DTYPES, reset=False)
        if len(X_repeat) != len(X):
            raise ValueError(
                f"X and X_repeat must have the same rows. Got {len(X)} and {len(X_repeat)} samples instead."
            )
        return X_repeat

    def _forget_results(self):
        for name in _MEASURED:
            self.__dict__.pop(name, None)

    def _fit_rows(self, rows, device):
        n_samples, n_features = rows.shape
        if n_samples >= n_features:
            # The rows reach the device block by block, so that it need not hold all of them.
            self._covariance = StreamingCovariance(n_features, device=device).update(rows)
            line = self._measure_covariance()
        else:
            n_constant = int((rows == rows[0]).all(dim=0).sum())
            line = self._measure(sample_eigenvalues(rows.to(device)), n_constant)
        if self.n_bootstrap:
            rng = seeded_generator(self, self.random_state)
            self._bootstrap(bootstrap_exponent, rows.to(device), line, rng=rng)

    def _measure_covariance(self):
        covariance = self._covariance
        # The mean of equal numbers is right to rounding only.
        rounding = 10 * torch.finfo(torch.float64).eps * covariance.mean.abs()
        n_constant = int((covariance.variances() <= rounding**2).sum())
        return self._measure(covariance.eigenvalues(), n_constant)

    def _fit_repeats(self, rows, repeat):
        random_state = seeded_generator(self, self.random_state)
        eigenvalues = cv_pca(rows, repeat, n_shuffles=int(self.n_shuffles), rng=random_state).mean(axis=0)
        line = self._measure(eigenvalues, n_constant=0)
        if self.n_bootstrap:
            self._bootstrap(bootstrap_cv_exponent, rows, repeat, line, rng=random_state)

    def _bootstrap(self, resample, *data, rng):
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

    def _measure(self, eigenvalues, n_constant):
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


def _doubts(fit, *, n_samples, n_features, n_eigenvalues, n_constant):
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


def check_window(owner, window, name="window"):
    """Raise unless `window` is "auto" or two ranks."""
    rule = "'auto' or (first, last) with ints 1 <= first < last, counted from 1"
    if isinstance(window, str) and window == "auto":
        return
    if not isinstance(window, (tuple, list)):
        raise parameter_error(owner, name, rule, window)
    integers = all(isinstance(end, numbers.Integral) and not isinstance(end, bool) for end in window)
    if len(window) != 2 or not integers or not 1 <= window[0] < window[1]:
        raise parameter_error(owner, name, rule, window, ValueError)
