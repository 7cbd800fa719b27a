"""Measuring: the power law of a covariance spectrum, and those along the steps of a Pipeline."""

from sklearn_brm._spectrum._estimator import PowerLawSpectrum, SpectrumWarning
from sklearn_brm._spectrum._pipeline import pipeline_spectra

__all__ = ["PowerLawSpectrum", "SpectrumWarning", "pipeline_spectra"]
