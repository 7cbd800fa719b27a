"""Floor 0: the formulas, tensors in and tensors out, with no scikit-learn and no skorch.

One module per room: `plasticity` (learning), `penalties` (regularising), `spectra` (measuring) and `attacks`
(attacking); `layers` are what the bridge builds of them all. The others serve these: `backpropagation`,
`rectifier` and `schedules` train a perceptron; `fronts` and `jacobians` are for pictures.
"""

from . import attacks, layers, penalties, plasticity, spectra

__all__ = ["attacks", "layers", "penalties", "plasticity", "spectra"]
