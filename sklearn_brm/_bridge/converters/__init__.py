"""Converters of scikit-learn's estimators and skorch's, each beside the layers that it alone needs."""

from . import (  # noqa: F401 - importing them registers their converters
    calibration,
    composition,
    ensembles,
    expansions,
    functions,
    kernels,
    linear,
    networks,
    probabilistic,
    projections,
    scalers,
)
