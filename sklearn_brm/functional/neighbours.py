"""How far a row must move before its nearest neighbours can vote otherwise: lower bounds from half-spaces.

A point is nearer to a row n than to a row p on one side of the plane between them, whose distance is known in
every norm. For other rows to outvote the own ones, some of them must be nearer than all but a few of the own
ones (Voracek and Hein, "Provably adversarially robust nearest prototype classifiers", ICML 2022, do so for
prototypes).
"""

import numpy as np

__all__ = ["vote_radius"]


def vote_radius(
    squares_own: np.ndarray, squares_other: np.ndarray, lengths: np.ndarray, n_neighbors: int
) -> float:
    """Return a radius within which rows of the own class hold the majority among the nearest neighbours.

    Parameters
    ----------
    squares_own, squares_other : ndarrays of shape (n_own,) and (n_other,)
        Squared Euclidean distances of a row x from training rows of its class, and from all other ones. Own
        rows may be left out: the radius is then no larger.
    lengths : ndarray of shape (n_own, n_other)
        By how much ``|x - p|^2 - |x - n|^2`` grows at most when x moves by one unit, for every pair.
    n_neighbors : int
        Number of neighbours that vote, with the same weight.

    Returns
    -------
    radius : float
        0 where the own class has no majority; inf where nothing can take it.
    """
    majority = n_neighbors // 2 + 1
    n_needed = n_neighbors - majority + 1
    if len(squares_own) < majority:
        return 0.0
    if len(squares_other) < n_needed:
        return np.inf
    # How far it is to the side of n, for each pair of p and n; rows on one spot are never told apart.
    lead = np.maximum(squares_other - squares_own[:, None], 0)
    ways = np.divide(lead, lengths, out=np.where(lead > 0, np.inf, 0.0), where=lengths > 0)
    # A row n must be nearer than all own rows but fewer than a majority of them, and several must be so.
    place = len(squares_own) - majority
    nearer = np.partition(ways, place, axis=0)[place]
    return float(np.partition(nearer, n_needed - 1)[n_needed - 1])
