"""What an attacker may not do to a row: fixed, integer, one-hot and one-way features."""


class FeatureConstraints:
    """Rules that every adversarial row obeys exactly.

    Parameters
    ----------
    mutable : array-like, default=None
        The features an attacker may change, as a boolean mask, as indices or as column names; None for all.
    bounds : tuple (low, high) or dict of feature to (low, high), default=None
        Smallest and largest value, as numbers, as arrays over all features, or per feature.
    integer : array-like, default=None
        Features that stay whole numbers.
    one_hot : list of array-like, default=None
        Groups of features of which one is 1 and the others 0.
    increasing : array-like, default=None
        Features that may only grow.
    project : callable, default=None
        ``project(X, X_clean) -> X``: any further rule, applied last; rows that break another rule
        afterwards are thrown away.
    """

    def __init__(self, *, mutable=None, bounds=None, integer=None, one_hot=(), increasing=None, project=None):
        self.mutable = mutable
        self.bounds = bounds
        self.integer = integer
        self.one_hot = one_hot
        self.increasing = increasing
        self.project = project
