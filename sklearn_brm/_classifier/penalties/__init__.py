"""What may be added to the loss of the classifier: one class per penalty, and the words for them."""

from ._adversarial import Adversarial
from ._base import Penalty
from ._batch import Batch
from ._input_gradient import InputGradient
from ._interval import Interval
from ._jacobian import Jacobian
from ._linear_relaxation import LinearRelaxation
from ._spectral import Spectral
from ._weights import L1, L2
from ._words import any_penalty, penalties_by_label

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
    "any_penalty",
    "penalties_by_label",
]
