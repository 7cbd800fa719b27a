"""The penalties of `RegularizedClassifier` as objects, and what a penalty of your own derives from."""

from ._classifier.penalties import (
    L1,
    L2,
    Adversarial,
    Batch,
    InputGradient,
    Interval,
    Jacobian,
    LinearRelaxation,
    Penalty,
    Spectral,
)

__all__ = [
    "L1",
    "L2",
    "Adversarial",
    "Batch",
    "InputGradient",
    "Interval",
    "Jacobian",
    "LinearRelaxation",
    "Penalty",
    "Spectral",
]
