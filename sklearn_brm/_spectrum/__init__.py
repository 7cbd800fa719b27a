"""Measuring: the power law of a covariance spectrum, and those along the steps of a Pipeline."""

from ._estimator import PowerLawSpectrum, SpectrumWarning
from ._pipeline import pipeline_spectra

__all__ = ["PowerLawSpectrum", "SpectrumWarning", "pipeline_spectra"]
