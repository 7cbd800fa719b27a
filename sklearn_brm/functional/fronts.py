"""Which of many points in the plane no other point beats."""

import numpy as np
from numpy.typing import ArrayLike


def pareto_front(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Return which points no other point beats: as good in both coordinates and better in one.

    Points with a NaN are not on the front and beat none.

    Parameters
    ----------
    x, y : array-like of shape (n_points,)
        Coordinates; larger is better.

    Returns
    -------
    on_front : ndarray of bool of shape (n_points,)
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    as_good = (points[:, None] >= points[None]).all(axis=2)
    better = (points[:, None] > points[None]).any(axis=2)
    return ~(as_good & better).any(axis=0) & ~np.isnan(points).any(axis=1)
