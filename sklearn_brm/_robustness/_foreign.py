"""Attacks of other libraries as callables that the scorer can use; they are imported only when one runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from torch import Tensor

from .._bridge import NotConvertibleError, to_torch


def from_foolbox(
    attack: Any, *, eps: float, bounds: tuple[float, float]
) -> Callable[[Any, Any, Any], np.ndarray]:
    """Turn a foolbox attack into one of ours.

    Parameters
    ----------
    attack : foolbox.attacks.Attack
        Any attack of foolbox on PyTorch models.
    eps : float
        Radius that foolbox is asked for, in raw units of the features.
    bounds : tuple (low, high)
        Range of the features, which foolbox needs to know.

    Returns
    -------
    callable
        ``(estimator, X, y) -> X_adversarial``, for the parameter `attack` of `AdversarialScorer` and the
        functions. What it returns is projected and tested again like everything else.

    Raises
    ------
    ValueError
        When it runs on an estimator that cannot be turned into a torch function.

    Examples
    --------
    >>> import foolbox  # doctest: +SKIP
    >>> attack = from_foolbox(foolbox.attacks.LinfPGD(), eps=0.1, bounds=(0, 1))  # doctest: +SKIP
    >>> AdversarialScorer(0.1, threat=ThreatModel(bounds=(0, 1)), attack=attack)  # doctest: +SKIP
    """

    def run(estimator: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        import foolbox

        X, y, dtype = _as_arrays(estimator, X, y)
        model = foolbox.PyTorchModel(_Module(to_torch(estimator, dtype=dtype)), bounds=bounds, device="cpu")
        _, found, _ = attack(model, torch.tensor(X), torch.tensor(y), epsilons=eps)
        return found.numpy()

    run.__name__ = f"foolbox_{type(attack).__name__}"
    return run


def from_art(
    build: Callable[[Any], Any], *, bounds: tuple[float, float] | None = None
) -> Callable[[Any, Any, Any], np.ndarray]:
    """Turn an attack of the Adversarial Robustness Toolbox into one of ours.

    Parameters
    ----------
    build : callable
        ``build(classifier) -> attack``, such as ``lambda classifier: HopSkipJump(classifier)``. The
        classifier has gradients where the estimator can be turned into a torch function, and answers
        alone otherwise.
    bounds : tuple (low, high), default=None
        Range of the features, which some attacks need to know.

    Returns
    -------
    callable
        As of `from_foolbox`.

    Examples
    --------
    >>> from art.attacks.evasion import ProjectedGradientDescent  # doctest: +SKIP
    >>> attack = from_art(lambda model: ProjectedGradientDescent(model, eps=0.1))  # doctest: +SKIP
    >>> AdversarialScorer(eps=0.1, attack=attack)  # doctest: +SKIP
    """

    def run(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        X, y, _ = _as_arrays(estimator, X, y)
        classifier = _art_classifier(estimator, X, bounds)
        return build(classifier).generate(X.astype(np.float32), y)

    run.__name__ = "art"
    return run


def _as_arrays(
    estimator: BaseEstimator, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, torch.dtype]:
    X = check_array(X, dtype=[np.float64, np.float32])
    return X, np.searchsorted(estimator.classes_, y), torch.from_numpy(X[:0]).dtype


def _art_classifier(estimator: BaseEstimator, X: np.ndarray, bounds: tuple[float, float] | None) -> Any:
    from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier

    shape, n_classes = X.shape[1:], len(estimator.classes_)
    try:
        module = _Module(to_torch(estimator, dtype=torch.float32))
    except NotConvertibleError:

        def answers(rows: np.ndarray) -> np.ndarray:
            encoded = np.searchsorted(estimator.classes_, estimator.predict(rows.astype(X.dtype)))
            return np.eye(n_classes, dtype=np.float32)[encoded]

        return BlackBoxClassifier(answers, shape, n_classes, clip_values=bounds)
    return PyTorchClassifier(
        module, torch.nn.CrossEntropyLoss(), shape, n_classes, clip_values=bounds, device_type="cpu"
    )


class _Module(torch.nn.Module):
    def __init__(self, function: torch.nn.Module) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
