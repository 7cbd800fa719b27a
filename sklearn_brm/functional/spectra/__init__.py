"""Covariance spectra: streamed covariances, power-law fits, resampling and cross-validated PCA."""

from sklearn_brm.functional.spectra._covariance import (
    StreamingCovariance,
    effective_rank,
    participation_ratio,
    sample_eigenvalues,
    scatter_eigenvalues,
)
from sklearn_brm.functional.spectra._cross_validation import cv_pca
from sklearn_brm.functional.spectra._power_law import (
    PowerLawFit,
    compare_models,
    density_to_rank_exponent,
    fit_power_law,
    rank_to_density_exponent,
)
from sklearn_brm.functional.spectra._resampling import (
    ExponentBootstrap,
    bootstrap_cv_exponent,
    bootstrap_exponent,
)
from sklearn_brm.functional.spectra._window import choose_window, last_trusted_rank

__all__ = [
    "ExponentBootstrap",
    "PowerLawFit",
    "StreamingCovariance",
    "bootstrap_cv_exponent",
    "bootstrap_exponent",
    "choose_window",
    "compare_models",
    "cv_pca",
    "density_to_rank_exponent",
    "effective_rank",
    "fit_power_law",
    "last_trusted_rank",
    "participation_ratio",
    "rank_to_density_exponent",
    "sample_eigenvalues",
    "scatter_eigenvalues",
]
