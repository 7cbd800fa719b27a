"""Covariance spectra: streamed covariances, power-law fits, resampling and cross-validated PCA."""

from ._covariance import (
    StreamingCovariance,
    effective_rank,
    participation_ratio,
    sample_eigenvalues,
    scatter_eigenvalues,
)
from ._cross_validation import cv_pca
from ._power_law import (
    LawComparison,
    PowerLawFit,
    compare_laws,
    density_to_rank_exponent,
    fit_power_law,
    rank_to_density_exponent,
)
from ._resampling import (
    ExponentBootstrap,
    bootstrap_cv_exponent,
    bootstrap_exponent,
)
from ._window import choose_window, last_trusted_rank

__all__ = [
    "ExponentBootstrap",
    "LawComparison",
    "PowerLawFit",
    "StreamingCovariance",
    "bootstrap_cv_exponent",
    "bootstrap_exponent",
    "choose_window",
    "compare_laws",
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
