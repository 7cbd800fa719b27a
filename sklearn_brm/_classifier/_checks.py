"""The parameters of the classifier, checked before any work starts."""

import inspect
import numbers

import numpy as np
from skorch.callbacks import Callback

from .._base import check_choice, check_number, parameter_error, resolve_device

DEFAULT_STRENGTHS = {
    "l1": 1e-5,
    "l2": 5e-4,
    "jacobian": 1e-3,
    "spectral": 1.0,
    "input_gradient": 0.01,
    "adversarial": 1.0,
}

OPTIMIZERS = ("adam", "sgd")

_NUMBERS = {
    "power": "[1, inf)",
    "spectral_exponent": "[0, inf)",
    "adversarial_eps": "[0, inf)",
    "validation_fraction": "(0, 1)",
}
_COUNTS = {
    "spectral_start": ("[0, inf)", ()),
    "adversarial_steps": ("[1, inf)", ()),
    "jacobian_projections": ("[1, inf)", ("auto",)),
    "batch_size": ("[1, inf)", ("auto",)),
    "max_iter": ("[1, inf)", ()),
    "n_iter_no_change": ("[1, inf)", ()),
    "verbose": ("[0, inf)", (True, False)),
}
_CHOICES = {
    **dict.fromkeys(
        (
            "penalize_intercepts",
            "standardize",
            "hidden_bias",
            "batch_norm",
            "early_stopping",
            "warm_start",
        ),
        (True, False),
    ),
    "init": ("glorot", "he"),
    "input_gradient_norm": (1, 2),
    "jacobian_of": ("hidden", "preactivation", "logits"),
    "spectral_of": ("hidden", "preactivation"),
}


def check_parameters(owner):
    """Raise TypeError or ValueError if a parameter of the classifier `owner` is not what it may be."""
    for name, interval in _NUMBERS.items():
        check_number(owner, name, getattr(owner, name), interval)
    for name, (interval, also) in _COUNTS.items():
        check_number(owner, name, getattr(owner, name), interval, kind=numbers.Integral, also=also)
    for name, choices in _CHOICES.items():
        check_choice(owner, name, getattr(owner, name), choices)
    check_number(owner, "tol", owner.tol, "[0, inf)", also=(None,))
    check_number(owner, "learning_rate_init", owner.learning_rate_init, "(0, inf)", also=("auto",))
    _check_callable_or(owner, "optimizer", OPTIMIZERS)
    _check_callable_or(owner, "learning_rate", ("constant",))
    _check_spectral(owner, hidden_sizes(owner), penalty_strengths(owner))
    _check_containers(owner)
    resolve_device(owner, owner.device)


def hidden_sizes(owner):
    """Return the numbers of units of the hidden layers as a list."""
    sizes = owner.hidden_layer_sizes
    try:
        sizes = [sizes] if isinstance(sizes, numbers.Integral) else list(sizes)
        for size in sizes:
            check_number(owner, "hidden_layer_sizes", size, "[1, inf)", kind=numbers.Integral)
    except (TypeError, ValueError) as error:
        rule = "an int in [1, inf) or a tuple of such, empty for a linear classifier"
        raise parameter_error(
            owner, "hidden_layer_sizes", rule, owner.hidden_layer_sizes, type(error)
        ) from None
    return [int(size) for size in sizes]


def penalty_strengths(owner):
    """Return the strength of every penalty by its name, without those of strength 0."""
    penalty = owner.penalty
    alpha = check_number(owner, "alpha", owner.alpha, "[0, inf)", also=("auto",))
    if penalty is None and alpha not in ("auto", 0):
        rule = "'auto' or 0 where penalty is None, which has no strength"
        raise parameter_error(owner, "alpha", rule, alpha, ValueError)
    if isinstance(penalty, dict) and alpha != "auto":
        rule = "'auto' where penalty is a dict, which holds its own strengths"
        raise parameter_error(owner, "alpha", rule, alpha, ValueError)
    if not isinstance(penalty, dict):
        check_choice(owner, "penalty", penalty, (None, *DEFAULT_STRENGTHS))
        strength = DEFAULT_STRENGTHS.get(penalty, 0) if alpha == "auto" else alpha
        penalty = {} if penalty is None else {penalty: strength}
    for name, strength in penalty.items():
        check_choice(owner, "penalty", name, tuple(DEFAULT_STRENGTHS))
        check_number(owner, f"penalty[{name!r}]", strength, "[0, inf)")
    return {name: float(strength) for name, strength in penalty.items() if strength > 0}


def _check_spectral(owner, sizes, strengths):
    """Raise ValueError where the spectral penalty would have no eigenvalue to act on."""
    if "spectral" not in strengths:
        return
    if not sizes:
        rule = "without 'spectral' where there is no hidden layer whose spectrum to shape"
        raise parameter_error(owner, "penalty", rule, owner.penalty, ValueError)
    if owner.spectral_start >= sizes[-1]:
        rule = f"below the {sizes[-1]} units of the last hidden layer, so that eigenvalues follow it"
        raise parameter_error(owner, "spectral_start", rule, owner.spectral_start, ValueError)


def checked_classes(owner, classes, resumes):
    """Return `classes`, of which there must be two, and the same as before if training `resumes`."""
    if len(classes) == 0:
        rule = "labels of at least 2 classes"
        raise parameter_error(owner, "classes", rule, np.asarray(classes).tolist(), ValueError)
    if len(classes) < 2:
        raise ValueError(
            f"This {type(owner).__name__} needs samples of at least 2 classes in the data, "
            f"but the data contains only one class: {classes[0]!r}"
        )
    if resumes and not np.array_equal(classes, owner.classes_):
        raise ValueError(f"The classes must stay the same: they were {owner.classes_} and are {classes} now.")
    return classes


def check_incremental(owner, classes):
    """Raise ValueError where `partial_fit` cannot do what the parameters ask for."""
    if owner.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True.")
    if isinstance(owner.class_weight, str):
        raise ValueError(
            f"class_weight={owner.class_weight!r} is not supported by partial_fit, since it needs all "
            "rows. Compute them with sklearn.utils.class_weight.compute_class_weight and pass a dict."
        )
    if classes is None and not hasattr(owner, "coefs_"):
        raise ValueError("classes must be passed on the first call to partial_fit.")


def _check_callable_or(owner, name, choices):
    value = getattr(owner, name)
    if not callable(value) and not (isinstance(value, str) and value in choices):
        options = " or ".join(map(repr, choices))
        raise parameter_error(owner, name, f"{options} or a callable", value)


def _check_containers(owner):
    _check_callbacks(owner, owner.callbacks)
    weights = owner.class_weight
    if weights is not None and not isinstance(weights, dict) and not _is_balanced(weights):
        rule = "'balanced', a dict of weights by label or None"
        raise parameter_error(owner, "class_weight", rule, weights)
    for label, weight in weights.items() if isinstance(weights, dict) else ():
        check_number(owner, f"class_weight[{label!r}]", weight, "[0, inf)")


def _check_callbacks(owner, callbacks):
    rule = "a list of skorch callbacks or None"
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise parameter_error(owner, "callbacks", rule, callbacks)
    for item in callbacks or ():
        if not _is_callback(item):
            rule += ", each an instance, a class that needs no argument, or a pair of a name and such"
            raise parameter_error(owner, "callbacks", rule, item, TypeError)


def _is_callback(item):
    if isinstance(item, (list, tuple)):
        return len(item) == 2 and isinstance(item[0], str) and _is_callback(item[1])
    if not isinstance(item, type):
        return isinstance(item, Callback)
    if not issubclass(item, Callback):
        return False
    required = [p for p in inspect.signature(item).parameters.values() if p.default is p.empty]
    return all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required)


def _is_balanced(weights):
    return isinstance(weights, str) and weights == "balanced"
