"""Which converter belongs to which estimator, and the rules by which one is trusted."""

import dataclasses

import torch
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from .._base import as_tensor, parameter_error

_CONVERTERS = {}
_FUNCTIONS = {}

# What a subclass may redefine without changing how a fitted instance computes its output.
_HARMLESS = {
    "fit",
    "fit_predict",
    "fit_transform",
    "get_feature_names_out",
    "get_metadata_routing",
    "get_params",
    "inverse_transform",
    "n_features_in_",
    "partial_fit",
    "score",
    "set_params",
}
_WAY_OUT = (
    "Attack it as a black box, leave the step out, or teach the bridge with sklearn_brm.register_converter."
)


class NotConvertibleError(ValueError):
    """An estimator, or a step inside it, that cannot be turned into a torch function."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a converted function lives; handed to every converter.

    Attributes
    ----------
    device : torch.device
        Where parameters and inputs are.
    dtype : torch.dtype
        Floating type of parameters, inputs and outputs.
    path : tuple of str
        Names of the steps that lead to the estimator being converted, for messages.
    transforms : bool
        Whether another step follows, so that a classifier that can also transform is asked for that.
    """

    device: torch.device
    dtype: torch.dtype
    path: tuple = ()
    transforms: bool = False

    def tensor(self, array):
        """Return a dense copy of `array`, a parameter of a fitted estimator, as a tensor."""
        if sparse.issparse(array):
            array = array.toarray()
        return as_tensor(array, device=self.device, dtype=self.dtype).clone()

    def convert(self, estimator, step=None, *, transforms=False):
        """Return the torch function of `estimator`, the part called `step` of the one being converted."""
        path = self.path if step is None else (*self.path, step)
        return _convert(estimator, dataclasses.replace(self, path=path, transforms=transforms))

    def refuse(self, estimator, reason):
        """Build the error that says why `estimator` has no torch function, and what to do."""
        name = estimator if isinstance(estimator, str) else type(estimator).__name__
        where = f"Step {'__'.join(self.path)!r} ({name})" if self.path else name
        return NotConvertibleError(f"{where} cannot be turned into a torch function: {reason}. {_WAY_OUT}")


def convert(estimator, *, device="cpu", dtype=torch.float64):
    """Turn a fitted estimator or Pipeline into a differentiable torch function.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier, transformer, or Pipeline of such.
    device : str or torch.device, default="cpu"
        Where the parameters are put, and where inputs are expected.
    dtype : torch.dtype, default=torch.float64
        Floating type of parameters, inputs and outputs.

    Returns
    -------
    function : callable
        Takes a tensor of shape (n, n_features_in_). A transformer's returns what `transform` does,
        dense. A classifier's returns decision scores of shape (n, n_classes), two columns for two
        classes, whose argmax indexes `classes_`: decision values, or logarithms of probabilities.

    Raises
    ------
    NotConvertibleError
        If the estimator, or one of its steps, is of a type without a converter, or set up in a way
        that has none.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    See Also
    --------
    register_converter : Teach the bridge a type of estimator.
    register_function : Teach it the function of a `FunctionTransformer`.

    Notes
    -----
    The parameters are copied: fitting the estimator again leaves the function as it was. The function
    computes what the estimator computes up to rounding, on finite, dense, numeric input.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_brm import convert
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> function = convert(pipeline)
    >>> rows = torch.tensor(X[:2], requires_grad=True)
    >>> scores = function(rows)
    >>> scores.shape
    torch.Size([2, 3])
    >>> torch.nn.functional.cross_entropy(scores, torch.tensor(y[:2])).backward()
    >>> rows.grad.shape
    torch.Size([2, 4])
    """
    if isinstance(estimator, type):
        raise parameter_error("convert", "estimator", "a fitted estimator, not a class", estimator)
    return _convert(estimator, Target(torch.device(device), dtype))


def register_converter(estimator_type, converter):
    """Teach the bridge how to convert a type of estimator.

    Parameters
    ----------
    estimator_type : type
        Class of the estimators. Its subclasses are converted in the same way, unless they redefine
        something that this class defines and that is not about fitting. Registering a class again
        replaces its converter.
    converter : callable
        Called as ``converter(estimator, target)`` with a fitted estimator; returns a callable on tensors as
        described in `convert`. ``target.tensor(array)`` gives a parameter the right type and place,
        ``target.convert(inner, "name")`` converts an inner estimator, and
        ``raise target.refuse(estimator, "reason")`` declines.

    See Also
    --------
    register_function : The same for the function of a `FunctionTransformer`.

    Examples
    --------
    >>> import torch
    >>> from sklearn.base import BaseEstimator, TransformerMixin
    >>> from sklearn_brm import convert, register_converter
    >>> class Shift(TransformerMixin, BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         self.offset_ = X.min(axis=0)
    ...         return self
    ...     def transform(self, X):
    ...         return X - self.offset_
    >>> def convert_shift(shift, target):
    ...     offset = target.tensor(shift.offset_)
    ...     return lambda X: X - offset
    >>> register_converter(Shift, convert_shift)
    >>> convert(Shift().fit(torch.tensor([[1.0], [2.0]]).numpy()))(torch.tensor([[3.0]]))
    tensor([[2.]], dtype=torch.float64)
    """
    if not isinstance(estimator_type, type):
        raise parameter_error("register_converter", "estimator_type", "a class", estimator_type)
    if not callable(converter):
        raise parameter_error("register_converter", "converter", "a callable", converter)
    _CONVERTERS[estimator_type] = converter


def register_function(function, torch_function):
    """Teach the bridge what the function of a `FunctionTransformer` is in torch.

    Parameters
    ----------
    function : callable
        What was given to `FunctionTransformer` as `func`. It must be hashable.
    torch_function : callable
        Computes the same on tensors, with the same `kw_args`, differentiably.

    See Also
    --------
    register_converter : The same for a whole type of estimator.

    Notes
    -----
    Known from the start are NumPy's and SciPy's ufuncs of one argument that torch has as well, such as
    `np.log1p`, `np.sqrt`, `np.tanh` and `scipy.special.expit`.

    Examples
    --------
    >>> import torch
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from sklearn_brm import convert, register_function
    >>> def ratio(X, by=1.0):
    ...     return X / (by + abs(X))
    >>> register_function(ratio, lambda X, by=1.0: X / (by + X.abs()))
    >>> convert(FunctionTransformer(ratio, kw_args={"by": 3.0}))(torch.tensor([[1.0]]))
    tensor([[0.2500]])
    """
    for name, value in {"function": function, "torch_function": torch_function}.items():
        if not callable(value):
            raise parameter_error("register_function", name, "a callable", value)
    _FUNCTIONS[function] = torch_function


def torch_function_of(function):
    """Return the torch function registered for `function`, or None."""
    return _FUNCTIONS.get(function)


def converts(*estimator_types):
    """Register the decorated function as the converter of these classes."""

    def register(converter):
        for estimator_type in estimator_types:
            register_converter(estimator_type, converter)
        return converter

    return register


def _convert(estimator, target):
    # Our own estimators answer by a method; a registered converter knows a type from outside.
    if hasattr(estimator, "_as_torch"):
        owner = next(c for c in type(estimator).__mro__ if "_as_torch" in vars(c))
        converter = _by_method
    else:
        owner = next((c for c in type(estimator).__mro__ if c in _CONVERTERS), None)
        if owner is None:
            raise target.refuse(estimator, "no converter is registered for its type")
        converter = _CONVERTERS[owner]
    changed = _redefined(type(estimator), owner)
    if changed:
        raise target.refuse(estimator, f"it redefines {', '.join(changed)} of {owner.__name__}")
    check_is_fitted(estimator)
    return converter(estimator, target)


def _by_method(estimator, target):
    return estimator._as_torch(device=target.device, dtype=target.dtype)


def _redefined(estimator_type, owner):
    """Names that `estimator_type` computes differently from `owner`, whose output is known."""
    newer = estimator_type.__mro__[: estimator_type.__mro__.index(owner)]
    names = {name for cls in newer for name in vars(cls) if hasattr(owner, name) and not _is_harmless(name)}
    return sorted(name for name in names if not getattr(getattr(owner, name), "__isabstractmethod__", False))


def _is_harmless(name):
    is_request = name.startswith("set_") and name.endswith("_request")
    return (
        name in _HARMLESS
        or is_request
        or name.startswith(("__", "_abc_", "_parameter_constraints", "_sklearn_"))
    )
