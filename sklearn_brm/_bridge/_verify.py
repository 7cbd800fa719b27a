"""Does a torch function compute what its estimator computes, row by row?"""

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax
from sklearn.base import BaseEstimator

# Relative to the largest score of a row: what rounding may do through a long Pipeline.
_TOLERANCE = {"float64": 1e-5, "float32": 1e-3}


def mismatch(
    estimator: BaseEstimator,
    function: torch.nn.Module,
    X: Any,
    *,
    matrix: np.ndarray | None = None,
    known: Any = MappingProxyType({}),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> NDArray[np.bool_]:
    """Tell for which rows of `X` a torch function disagrees with the estimator it was made from.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier or transformer.
    function : callable
        What `to_torch` made of it, on `device` and in `dtype`.
    X : array-like of shape (n_samples, n_features)
        Rows to compare on, in the form that the estimator takes.
    matrix : array-like of shape (n_samples, n_features), default=None
        The same rows as numbers; None takes `X`.
    known : dict, default={}
        What the estimator answers to `X`, by the name of a method, where that is known already.
    device : str or torch.device, default="cpu"
        Where the function expects its input.
    dtype : torch.dtype, default=torch.float64
        Floating type that the function expects.

    Returns
    -------
    disagrees : ndarray of shape (n_samples,), dtype=bool
        True where a classifier's scores do not single out the class that `predict` names, or where they
        are neither the values of `decision_function` (for two classes by their difference, for more up
        to a number common to the row) nor, after a softmax, those of `predict_proba`; and where a
        transformer's output is not that of `transform`.

    Notes
    -----
    Only the predicted class is compared where an estimator's scores do not single it out: in a `SVC` of
    several classes, which counts votes, and with a moved threshold.
    """
    rows = np.asarray(X if matrix is None else matrix)
    with torch.no_grad():
        output = function(torch.as_tensor(rows.astype(float), dtype=dtype).to(device)).cpu().numpy()
    if hasattr(estimator, "predict"):
        return _classifier_mismatch(estimator, output, X, rows, known)
    expected = estimator.transform(X)
    expected = np.asarray(expected.toarray() if sparse.issparse(expected) else expected)
    return ~_rows_close(output, expected, _tolerance(output, expected, rows))


def _classifier_mismatch(
    classifier: BaseEstimator, scores: np.ndarray, X: Any, rows: np.ndarray, known: Any
) -> NDArray[np.bool_]:
    def ask(method: str) -> np.ndarray:
        return np.asarray(known[method] if method in known else getattr(classifier, method)(X))

    predicted = ask("predict")
    if predicted.ndim != 1 or scores.shape != (len(predicted), len(classifier.classes_)):
        return np.ones(len(predicted), dtype=bool)
    encoded = np.searchsorted(classifier.classes_, predicted)
    agrees, tolerance = np.ones(len(scores), dtype=bool), _tolerance(scores, rows)
    for method, values in _responses(classifier, ask, scores.shape):
        tolerance = _tolerance(scores, values, rows)
        mine = softmax(scores, axis=1) if method == "predict_proba" else _centred(scores)
        agrees = _rows_close(mine, values, tolerance) | ~_points_to(values, encoded, tolerance)
        # Saturated probabilities agree too easily: they are looked at only where decision values are others.
        if 2 * agrees.sum() > len(agrees):
            break
    return ~(agrees & _points_to(scores, encoded, tolerance))


def one_column_per_class(scores: np.ndarray) -> np.ndarray:
    """Return scores with one column per class: lone ones are those of the second class against 0."""
    scores = np.asarray(scores)
    return scores if scores.ndim > 1 else np.column_stack([np.zeros_like(scores), scores])


def _responses(
    classifier: BaseEstimator, ask: Callable[..., Any], shape: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what the classifier offers to compare with, one column per class."""
    parameters = _parameters(classifier)
    if "response_method" in parameters:
        return  # Its threshold is not where its scores are equal.
    votes_of_pairs = "decision_function_shape" in parameters and shape[1] > 2
    if hasattr(classifier, "decision_function") and not votes_of_pairs:
        values = one_column_per_class(ask("decision_function"))
        if values.shape == shape:
            yield "decision_function", _centred(values)
    if hasattr(classifier, "predict_proba") and not parameters.get("probability"):
        yield "predict_proba", ask("predict_proba")


def _parameters(classifier: BaseEstimator) -> dict[str, Any]:
    """Parameters of a classifier and of all in it, by their own names."""
    classifier = getattr(classifier, "best_estimator_", classifier)
    return {name.rpartition("__")[2]: value for name, value in classifier.get_params().items()}


def _tolerance(*arrays: np.ndarray) -> float:
    """What the least precise of the arrays allows."""
    return max(_TOLERANCE[array.dtype.name] for array in arrays if array.dtype.name in _TOLERANCE)


def _centred(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(axis=1, keepdims=True)


def _points_to(scores: np.ndarray, encoded: np.ndarray, tolerance: float) -> NDArray[np.bool_]:
    """Rows whose largest score, ties by rounding included, is the one of the class given."""
    slack = tolerance * np.maximum(1, np.abs(scores).max(axis=1))
    return scores[np.arange(len(scores)), encoded] >= scores.max(axis=1) - slack


def _rows_close(values: np.ndarray, expected: np.ndarray, tolerance: float) -> NDArray[np.bool_]:
    if values.shape != expected.shape:
        return np.zeros(len(expected), dtype=bool)
    slack = tolerance * np.maximum(1, np.abs(expected).max(axis=1))
    return np.abs(values - expected).max(axis=1) <= slack
