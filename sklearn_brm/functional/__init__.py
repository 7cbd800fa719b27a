"""Floor 0: the formulas, tensors in and tensors out, with no scikit-learn and no skorch."""
