"""Spectra along a fitted Pipeline."""


def pipeline_spectra():
    """Stub."""
