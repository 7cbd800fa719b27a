"""Does a torch function compute what its estimator computes, row by row?"""

import numpy as np
import torch
from scipy import sparse
from scipy.special import softmax

# Relative to the largest score of a row: what rounding may do through a long Pipeline.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


def mismatch(estimator, function, X, *, device="cpu", dtype=torch.float64):
    """Tell for which rows of `X` a torch function disagrees with the estimator it was made from.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier or transformer.
    function : callable
        What `convert` made of it, on `device` and in `dtype`.
    X : array-like of shape (n_samples, n_features)
        Rows to compare on.
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
    Where an estimator's own scores point to another class than its `predict` does, as the votes of
    a `SVC` can, only the predicted class is compared.
    """
    with torch.no_grad():
        output = function(torch.as_tensor(np.array(X, dtype=float), device=device, dtype=dtype))
    output, tolerance = output.cpu().double().numpy(), _TOLERANCE.get(dtype, 1e-2)
    if hasattr(estimator, "predict"):
        return _classifier_mismatch(estimator, output, X, tolerance)
    expected = estimator.transform(X)
    expected = np.asarray(expected.toarray() if sparse.issparse(expected) else expected)
    return ~_rows_close(output, expected, tolerance)


def _classifier_mismatch(classifier, scores, X, tolerance):
    predicted = np.asarray(classifier.predict(X))
    if predicted.ndim != 1 or scores.shape != (len(predicted), len(classifier.classes_)):
        return np.ones(len(predicted), dtype=bool)
    encoded = np.searchsorted(classifier.classes_, predicted)
    return ~(
        _points_to(scores, encoded, tolerance) & _has_values_of(classifier, scores, X, encoded, tolerance)
    )


def _has_values_of(classifier, scores, X, encoded, tolerance):
    """Rows with the values of the classifier's response, where that argues for the prediction."""
    agrees = np.ones(len(scores), dtype=bool)
    for method, values in _responses(classifier, X, scores.shape):
        mine = softmax(scores, axis=1) if method == "predict_proba" else _centred(scores)
        agrees = _rows_close(mine, values, tolerance) | ~_points_to(values, encoded, tolerance)
        # Saturated probabilities agree too easily: they are looked at only where decision values are others.
        if 2 * agrees.sum() > len(agrees):
            break
    return agrees


def _responses(classifier, X, shape):
    """Yield what the classifier offers to compare with, one column per class."""
    # One column per pair of classes, of which three classes have as many as classes.
    parameters = classifier.get_params()
    if any(name.endswith("decision_function_shape") and parameters[name] == "ovo" for name in parameters):
        return
    if hasattr(classifier, "decision_function"):
        values = np.asarray(classifier.decision_function(X), dtype=float)
        if values.ndim == 1:
            values = np.column_stack([-values / 2, values / 2])
        if values.shape == shape:
            yield "decision_function", _centred(values)
    if hasattr(classifier, "predict_proba"):
        yield "predict_proba", np.asarray(classifier.predict_proba(X), dtype=float)


def _centred(scores):
    return scores - scores.mean(axis=1, keepdims=True)


def _points_to(scores, encoded, tolerance):
    """Rows whose largest score, ties by rounding included, is the one of the class given."""
    slack = tolerance * np.maximum(1, np.abs(scores).max(axis=1))
    return scores[np.arange(len(scores)), encoded] >= scores.max(axis=1) - slack


def _rows_close(values, expected, tolerance):
    if values.shape != expected.shape:
        return np.zeros(len(expected), dtype=bool)
    slack = tolerance * np.maximum(1, np.abs(expected).max(axis=1))
    return np.abs(values - expected).max(axis=1) <= slack
