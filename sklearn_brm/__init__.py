"""Biologically inspired robustness mechanisms as scikit-learn estimators."""

__version__ = "0.1.0.dev0"

from ._bridge import NotConvertibleError, convert, register_converter, register_function
from ._classifier import RegularizedClassifier, paper_recipe
from ._displays import SpectrumDisplay, TradeOffDisplay
from ._encoder import WTAEncoder
from ._spectrum import PowerLawSpectrum, SpectrumWarning, pipeline_spectra

__all__ = [
    "NotConvertibleError",
    "PowerLawSpectrum",
    "RegularizedClassifier",
    "SpectrumDisplay",
    "SpectrumWarning",
    "TradeOffDisplay",
    "WTAEncoder",
    "convert",
    "paper_recipe",
    "pipeline_spectra",
    "register_converter",
    "register_function",
]
