"""Which converter belongs to which estimator, and the rules by which one is trusted."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._base import as_tensor, parameter_error, resolve_device
from .._device import has_float64
from ..functional.layers import LogSoftmax, layers_of, sequence

if TYPE_CHECKING:
    from ._codes import CodedInputs

_Converter = TypeVar("_Converter", bound=Callable[..., Any])
# By class, or by "package.Name" where the class cannot be imported.
_CONVERTERS: dict[type | str, Callable[..., Any]] = {}
_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}

# What a subclass may redefine without changing how a fitted instance computes its output.
_HARMLESS = {
    "_check_input_parameters",
    "_run_search",
    "_select_best_index",
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
    """An estimator, or a step inside it, that cannot be turned into a torch module."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a converted estimator lives; handed to every converter.

    Attributes
    ----------
    device : torch.device
        Where parameters and inputs are.
    dtype : torch.dtype
        Floating type of parameters, inputs and outputs.
    path : tuple of str
        Names of the steps that lead to the estimator being converted, for messages.
    response : {"scores", "decision", "log_proba", "transform"}
        What the module is to compute: scores whose argmax is the predicted class, the columns of
        `decision_function`, logarithms of `predict_proba`, or what `transform` returns.
    inputs : CodedInputs or None
        Which columns of the input are codes of categories; None where every column is a number.
    """

    device: torch.device
    dtype: torch.dtype
    path: tuple[Any, ...] = ()
    response: str = "scores"
    inputs: "CodedInputs | None" = None

    def tensor(self, array: Any) -> Tensor:
        """Return a dense copy of `array`, a parameter of a fitted estimator, as a tensor."""
        if sparse.issparse(array):
            array = array.toarray()
        # In two steps: not every device holds the type that the array comes in.
        return as_tensor(array, dtype=self.dtype).clone().to(self.device)

    def convert(
        self,
        estimator: BaseEstimator,
        step: str | None = None,
        *,
        response: str = "scores",
        inputs: Any = "same",
    ) -> torch.nn.Module:
        """Return the torch module of `estimator`, the part called `step` of the one being converted.

        Its input is that of the whole, or as `inputs` says: None for numbers alone.
        """
        path = self.path if step is None else (*self.path, step)
        inputs = self.inputs if isinstance(inputs, str) else inputs
        return _convert(estimator, dataclasses.replace(self, path=path, response=response, inputs=inputs))

    def refuse(self, estimator: BaseEstimator, reason: str) -> NotConvertibleError:
        """Build the error that says why `estimator` has no torch module, and what to do."""
        name = estimator if isinstance(estimator, str) else type(estimator).__name__
        where = f"Step {'__'.join(self.path)!r} ({name})" if self.path else name
        return NotConvertibleError(f"{where} cannot be turned into a torch module: {reason}. {_WAY_OUT}")


def to_torch(
    estimator: BaseEstimator, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float64
) -> torch.nn.Module:
    """Turn a fitted estimator or Pipeline into a differentiable torch module.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier, transformer, or Pipeline of such.
    device : str or torch.device, default="cpu"
        Where the parameters are put, and where inputs are expected; "auto" takes a GPU if there is one that
        computes in `dtype`.
    dtype : torch.dtype, default=torch.float64
        Floating type of parameters, inputs and outputs.

    Returns
    -------
    module : torch.nn.Module
        Takes a tensor of shape (n, `n_features_in_`). A transformer's returns what `transform` does,
        dense. A classifier's returns decision scores of shape (n, n_classes), two columns for two
        classes, whose argmax indexes `classes_`: decision values, or logarithms of probabilities.
        Of several steps it is a flat `torch.nn.Sequential` of layers, most of them from
        `sklearn_brm.functional.layers`; the attribute `step` of a layer names where it comes from.

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
    register_torch_function : Teach it the function of a `FunctionTransformer`.

    Notes
    -----
    What was fitted is copied into buffers: fitting the estimator again leaves the module as it was, there is
    nothing to train, and it can be pickled, moved to a device and saved by `state_dict`. It computes what the
    estimator computes up to rounding, on finite, dense, numeric input.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_brm import to_torch
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> module = to_torch(pipeline)
    >>> module
    Sequential(
      (0): Rescale(4 columns)
      (1): Affine(4 -> 3)
    )
    >>> rows = torch.tensor(X[:2], requires_grad=True)
    >>> scores = module(rows)
    >>> scores.shape
    torch.Size([2, 3])
    >>> torch.nn.functional.cross_entropy(scores, torch.tensor(y[:2])).backward()
    >>> rows.grad.shape
    torch.Size([2, 4])
    """
    if isinstance(estimator, type):
        raise parameter_error("to_torch", "estimator", "a fitted estimator, not a class", estimator)
    if not (hasattr(estimator, "predict") or hasattr(estimator, "transform")):
        raise parameter_error("to_torch", "estimator", "a fitted estimator", estimator, TypeError)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise parameter_error("to_torch", "dtype", "a floating torch.dtype", dtype)
    return convert_coded(estimator, None, device=_resolve_device(device, dtype), dtype=dtype)


def convert_coded(
    estimator: BaseEstimator, inputs: Any, *, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Return what `to_torch` does for input in which some columns are codes, as `inputs` tells."""
    return _convert(estimator, Target(device, dtype, inputs=inputs))


def _resolve_device(device: torch.device | str, dtype: torch.dtype) -> torch.device:
    resolved = resolve_device("to_torch", device)
    if dtype == torch.float64 and not has_float64(resolved):
        if isinstance(device, str) and device == "auto":
            return torch.device("cpu")
        raise parameter_error("to_torch", "dtype", "torch.float32 or shorter on 'mps'", dtype, ValueError)
    return resolved


def register_converter(estimator_type: type, converter: Callable[..., Any]) -> None:
    """Teach the bridge how to convert a type of estimator.

    Parameters
    ----------
    estimator_type : type
        Class of the estimators. Its subclasses are converted in the same way, unless they redefine
        something that this class defines and that is not about fitting. Registering a class again
        replaces its converter.
    converter : callable
        Called as ``converter(estimator, target)`` with a fitted estimator; returns a torch module, or any
        callable on tensors, as described in `to_torch`. A subclass of `sklearn_brm.functional.layers.Layer`
        is a module that also moves and pickles. ``target.tensor(array)`` gives a parameter the right type
        and place, ``target.convert(inner, "name", response="transform")`` converts an inner estimator, and
        ``raise target.refuse(estimator, "reason")`` declines.

    See Also
    --------
    register_torch_function : The same for the function of a `FunctionTransformer`.

    Examples
    --------
    >>> import torch
    >>> from sklearn.base import BaseEstimator, TransformerMixin
    >>> from sklearn_brm import register_converter, to_torch
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
    >>> to_torch(Shift().fit(torch.tensor([[1.0], [2.0]]).numpy()))(torch.tensor([[3.0]]))
    tensor([[2.]], dtype=torch.float64)
    """
    if not isinstance(estimator_type, type):
        raise parameter_error("register_converter", "estimator_type", "a class", estimator_type)
    if not callable(converter):
        raise parameter_error("register_converter", "converter", "a callable", converter)
    _CONVERTERS[estimator_type] = answering(converter)


def register_torch_function(function: Callable[..., Any], torch_function: Callable[..., Any]) -> None:
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
    >>> from sklearn_brm import register_torch_function, to_torch
    >>> def ratio(X, by=1.0):
    ...     return X / (by + abs(X))
    >>> register_torch_function(ratio, lambda X, by=1.0: X / (by + X.abs()))
    >>> to_torch(FunctionTransformer(ratio, kw_args={"by": 3.0}))(torch.tensor([[1.0]]))
    tensor([[0.2500]])
    """
    for name, value in {"function": function, "torch_function": torch_function}.items():
        if not callable(value):
            raise parameter_error("register_torch_function", name, "a callable", value)
    _FUNCTIONS[function] = torch_function


def torch_function_of(function: Any) -> Callable[..., Any] | None:
    """Return the torch function registered for `function`, or None."""
    return _FUNCTIONS.get(function)


def converts(*estimator_types: type | str) -> Callable[[_Converter], _Converter]:
    """Register the decorated function, which answers what `target.response` asks for.

    A type is a class, or ``"package.Name"`` where its class cannot be imported.
    """

    def register(converter: _Converter) -> _Converter:
        _CONVERTERS.update(dict.fromkeys(estimator_types, converter))
        return converter

    return register


def log_softmax(classifier: BaseEstimator | None = None) -> torch.nn.Module:
    """Return the layer from scores to logarithms of probabilities, for classifiers that use softmax."""
    return LogSoftmax()


def converts_classifier(
    *estimator_types: type | str, log_proba: Callable[..., Any] = log_softmax
) -> Callable[[_Converter], _Converter]:
    """Register the decorated function, which makes the decision values of a classifier.

    ``log_proba(classifier)`` is the layer that turns them into logarithms of `predict_proba`, or None where
    there is none.
    """

    def register(converter: _Converter) -> _Converter:
        converts(*estimator_types)(answering(converter, log_proba))
        return converter

    return register


def answering(
    converter: Callable[..., Any], log_proba: Callable[..., Any] = log_softmax
) -> Callable[..., Any]:
    """Let a converter that knows scores only answer for probabilities too, or decline."""

    def converted(estimator: BaseEstimator, target: Target) -> Callable[..., Any] | torch.nn.Module:
        if target.response == "transform" and not hasattr(estimator, "transform"):
            raise target.refuse(estimator, "it stands before another step and does not transform")
        module = converter(estimator, target)
        if target.response != "log_proba":
            return module
        to_log_proba = log_proba(estimator)
        if to_log_proba is None:
            raise target.refuse(estimator, "its probabilities do not follow from its decision values")
        return sequence(module, to_log_proba)

    return converted


def _convert(estimator: Any, target: Target) -> torch.nn.Module:
    owner, converter = _owner_and_converter(type(estimator))
    if owner is None or converter is None:
        raise target.refuse(estimator, "no converter is registered for its type")
    changed = _redefined(type(estimator), owner)
    if changed:
        raise target.refuse(estimator, f"it redefines {', '.join(changed)} of {owner.__name__}")
    check_is_fitted(estimator)
    if target.inputs is not None and not getattr(converter, "passes_inputs_on", False):
        converter = _first_of_coded(converter)
    module = sequence(converter(estimator, target)).eval()
    for layer in layers_of(module):
        # The innermost step is converted first.
        named: Any = layer
        named.step = getattr(layer, "step", "__".join(target.path))
    return module


def _first_of_coded(converter: Callable[..., Any]) -> Callable[..., Any]:
    """Convert the first step that meets coded columns: by looking its output up where all of them are."""

    def converted(estimator: Any, target: Target) -> torch.nn.Module:
        inputs = cast("CodedInputs", target.inputs)
        if target.response == "transform" and inputs.all_coded and hasattr(estimator, "transform"):
            return inputs.look_up(estimator, target)
        if inputs.has_words:
            raise target.refuse(estimator, "it takes columns of categories and of numbers together")
        return converter(estimator, dataclasses.replace(target, inputs=None))

    return converted


def passes_inputs_on(converter: _Converter) -> _Converter:
    """Mark a converter that hands its input to others as it is, or sorts the columns itself."""
    marked: Any = converter
    marked.passes_inputs_on = True
    return converter


def _owner_and_converter(estimator_type: type) -> tuple[type | None, Callable[..., Any] | None]:
    """The nearest class that answers by the method of our own estimators, or is registered."""
    for cls in estimator_type.__mro__:
        if "_as_torch" in vars(cls):
            return cls, answering(_by_method)
        for key in (cls, f"{cls.__module__.partition('.')[0]}.{cls.__name__}"):
            if key in _CONVERTERS:
                return cls, _CONVERTERS[key]
    return None, None


def _by_method(estimator: BaseEstimator, target: Target) -> Callable[..., Any] | torch.nn.Module:
    kwargs: dict[str, Any] = {"device": target.device, "dtype": target.dtype}
    # One that holds another estimator asks for the means to convert that.
    if "convert" in inspect.signature(estimator._as_torch).parameters:
        kwargs["convert"] = target.convert
    return estimator._as_torch(**kwargs)


def _redefined(estimator_type: type, owner: type) -> list[Any]:
    """Names that `estimator_type` computes differently from `owner`, whose output is known."""
    newer = estimator_type.__mro__[: estimator_type.__mro__.index(owner)]
    names = {name for cls in newer for name in vars(cls) if hasattr(owner, name) and not _is_harmless(name)}
    return sorted(name for name in names if not getattr(getattr(owner, name), "__isabstractmethod__", False))


def _is_harmless(name: str) -> bool:
    is_request = name.startswith("set_") and name.endswith("_request")
    return (
        name in _HARMLESS
        or is_request
        or name.startswith(("__", "_abc_", "_parameter_constraints", "_sklearn_"))
    )
