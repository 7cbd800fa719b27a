"""Floor 0: the formulas, tensors in and tensors out, with no scikit-learn and no skorch.

One module per room: `plasticity` (learning), `penalties` (regularising), `spectra` (measuring) and
`attacks` (attacking); `layers` and `convolutions` are what the bridge builds of them all, and `bounds`
hold of these. The others: `backpropagation`, `rectifier` and `schedules` train a perceptron, `worst_case`
trains it for what can be proven, `mixed_integer` decides small networks, `fronts` and `jacobians` are for
pictures.
"""

from . import attacks, bounds, convolutions, layers, penalties, plasticity, spectra

__all__ = ["attacks", "bounds", "convolutions", "layers", "penalties", "plasticity", "spectra"]
