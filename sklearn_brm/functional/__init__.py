"""Floor 0: the formulas, tensors in and tensors out, with no scikit-learn and no skorch.

One module per room: `plasticity` (learning), `penalties` (regularising), `spectra` (measuring) and `attacks`
(attacking). The others serve these: `learning` and `rows` run winner-take-all learning over batches;
`backpropagation`, `rectifier` and `schedules` train a perceptron.
"""

from . import attacks, penalties, plasticity, spectra

__all__ = ["attacks", "penalties", "plasticity", "spectra"]
