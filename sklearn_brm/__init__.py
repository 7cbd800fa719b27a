"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._displays import SpectrumDisplay, TradeOffDisplay
from ._spectrum import PowerLawSpectrum, SpectrumWarning, pipeline_spectra

__all__ = [
    "NotConvertibleError",
    "PowerLawSpectrum",
    "SpectrumDisplay",
    "SpectrumWarning",
    "TradeOffDisplay",
    "convert",
    "pipeline_spectra",
    "register_converter",
    "register_function",
]
