"""Attack a fitted classifier in its raw input space: adversarial rows, critical radii, robustness curves."""

from dataclasses import dataclass

import numpy as np

ATTACKS = (
    "worst_case",
    "random",
    "gaussian",
    "fgsm",
    "pgd",
    "apgd",
    "apgd_margin",
    "apgd_targeted",
    "minimum_norm",
    "black_box",
)


class RobustnessWarning(UserWarning):
    """A robustness number should not be believed as it stands; the message says which and why."""


@dataclass(frozen=True)
class AdversarialExamples:
    """What `adversarial_examples` found, one entry per row of `X`.

    Attributes
    ----------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The adversarial rows; the clean row wherever none was found.
    outcome : ndarray of str of shape (n_samples,)
        ``"wrong_when_clean"`` (never attacked), ``"broken"`` or ``"standing"``.
    distance : ndarray of shape (n_samples,)
        Size of the perturbation in the requested norm, in units of `scale`.
    l2_distance : ndarray of shape (n_samples,)
        Plain Euclidean length of the perturbation in raw units.
    attack : ndarray of str of shape (n_samples,)
        Name of the attack that broke the row, ``""`` where none did.
    n_queries : ndarray of int of shape (n_samples,)
        How often the black box asked the estimator about this row.
    """

    X: np.ndarray
    outcome: np.ndarray
    distance: np.ndarray
    l2_distance: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray


@dataclass(frozen=True)
class CriticalPerturbations:
    """What `critical_perturbations` found, one entry per row of `X`.

    Attributes
    ----------
    radius : ndarray of shape (n_samples,)
        Smallest radius found that changes the prediction, in the requested norm and in units of
        `scale`; 0 where the row is wrong when clean, inf where none was found.
    l2_norm : ndarray of shape (n_samples,)
        Its Euclidean length in raw units (the critical norm of the paper); 0 and inf likewise.
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The adversarial rows; the clean row wherever none was found.
    outcome, attack, n_queries : ndarray of shape (n_samples,)
        As in `AdversarialExamples`.
    """

    radius: np.ndarray
    l2_norm: np.ndarray
    X: np.ndarray
    outcome: np.ndarray
    attack: np.ndarray
    n_queries: np.ndarray


@dataclass(frozen=True)
class RobustnessCurve:
    """What `robustness_curve` found.

    Attributes
    ----------
    eps : ndarray of shape (n_eps,)
        Radii, rising, in units of `scale`.
    accuracy : ndarray of shape (n_eps,)
        Share of all rows that are right when clean and under every attack up to this radius; never rises.
    relative_accuracy : ndarray of shape (n_eps,)
        The same as a share of the rows that are right when clean.
    clean_accuracy : float
        Share of rows that are right when clean.
    radius, l2_norm : ndarray of shape (n_samples,)
        Per row, the smallest `eps` of the curve that broke it and the Euclidean length of that change in
        raw units; 0 where the row is wrong when clean, inf where none did.
    """

    eps: np.ndarray
    accuracy: np.ndarray
    relative_accuracy: np.ndarray
    clean_accuracy: float
    radius: np.ndarray
    l2_norm: np.ndarray


def adversarial_examples(
    estimator,
    X,
    y,
    *,
    attack="worst_case",
    eps=0.1,
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=512,
    device="auto",
    random_state=None,
    verbose=0,
):
    """Search, for every row that is right when clean, a row within `eps` that is not."""
    raise NotImplementedError


def critical_perturbations(
    estimator,
    X,
    y,
    *,
    method="bisect",
    attack="worst_case",
    eps=None,
    max_eps=None,
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=512,
    device="auto",
    random_state=None,
    verbose=0,
):
    """Search, for every row, the smallest perturbation that changes the prediction."""
    raise NotImplementedError


def robustness_curve(
    estimator,
    X,
    y,
    *,
    eps=None,
    method="bisect",
    attack="worst_case",
    norm=np.inf,
    scale=None,
    reference_X=None,
    bounds=None,
    constraints=None,
    n_steps=50,
    n_restarts=1,
    max_queries=500,
    batch_size=512,
    device="auto",
    random_state=None,
    sample_weight=None,
    verbose=0,
):
    """Accuracy under attack at many radii, never rising."""
    raise NotImplementedError
