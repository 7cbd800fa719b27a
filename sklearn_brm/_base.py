"""What every estimator shares: parameter checks, device, seed, progress and the documentation link."""

import copy
import numbers
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm.auto import tqdm

# What torch takes for a number without a fraction.
_LARGEST_INT = np.iinfo(np.int64).max
# A rule of a parameter: called with the estimator, the name of the parameter and its value, it raises.
ParameterRule = Callable[[object, str, Any], object]
_Item = TypeVar("_Item")
_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (np.bool_, bool),
    (numbers.Integral, int),
    (numbers.Real, float),
)
_KIND_NAMES: dict[type, str] = {numbers.Real: "a float", numbers.Integral: "an int"}


class SparseMatrix(Protocol):
    """A sparse matrix or array of scipy, of any format."""

    def tocsr(self, copy: bool = False) -> Any:
        """Return the same numbers by rows."""


class DocLinkMixin:
    """Point scikit-learn's HTML representation at the documentation of this package, where there is one."""

    _doc_link_module = "sklearn_brm"
    # The module under which the reference lists the class.
    _doc_link_place = "sklearn_brm"

    def _get_doc_link(self) -> str:
        if type(self).__module__.partition(".")[0] != self._doc_link_module:
            return ""
        return documentation_link(f"api/generated/{self._doc_link_place}.{type(self).__name__}.html")


def documentation_link(page: str) -> str:
    """Return the address of a page of the documentation, or "" where nothing would open.

    The environment variable ``SKLEARN_BRM_DOCUMENTATION`` names the folder that ``make docs`` built, or an
    address. Without it the metadata of the installed package tells, which name an address once there is one.
    """
    site = os.environ.get("SKLEARN_BRM_DOCUMENTATION") or _address_in_metadata("Documentation")
    if "://" in site:
        return f"{site.rstrip('/')}/{page}"
    path = Path(site, page)
    return path.resolve().as_uri() if site and path.is_file() else ""


@cache
def _address_in_metadata(label: str) -> str:
    try:
        addresses = metadata.metadata("sklearn-brm").get_all("Project-URL", [])
    except metadata.PackageNotFoundError:
        return ""
    return dict(address.split(", ", 1) for address in addresses).get(label, "")


def check_number(
    owner: object,
    name: str,
    value: Any,
    interval: str,
    *,
    kind: type = numbers.Real,
    also: tuple[Any, ...] = (),
) -> Any:
    """Return `value` if it is a number inside `interval` or one of the literals in `also`.

    Parameters
    ----------
    owner : object or str
        The estimator, or the name of the function, whose parameter this is.
    name : str
        Name of the parameter.
    value : object
        What the user gave.
    interval : str
        The allowed range as mathematicians write it, such as ``"[0, inf)"``. NaN is in none.
    kind : {numbers.Real, numbers.Integral}
        Whether fractions are allowed. A bool is not a number here.
    also : tuple
        Literals that are allowed besides, such as ``("auto", None)``.

    Raises
    ------
    TypeError
        If `value` is not of the right kind.
    ValueError
        If it is a number outside the interval, an int beyond 64 bits, or a string that is not among the
        literals.
    """
    if _is_literal(value, also):
        return value
    rule = _join([f"{_KIND_NAMES[kind]} in {interval}", *map(repr, also)])
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise parameter_error(owner, name, rule, value)
    if not _contains(interval, value):
        raise parameter_error(owner, name, rule, value, ValueError)
    if isinstance(value, numbers.Integral) and int(value) > _LARGEST_INT:
        raise parameter_error(owner, name, f"{rule}, and at most 2**63 - 1", value, ValueError)
    return value


def as_numbers(owner: object, name: str, value: Any, rule: str) -> NDArray[np.float64]:
    """Return what the user gave for `name` as a float64 array, or raise: it must be `rule`."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise parameter_error(owner, name, rule, value, TypeError) from None


def check_choice(owner: object, name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of the literals in `choices`, else raise as `check_number` does."""
    if _is_literal(value, choices):
        return value
    raise parameter_error(owner, name, _join([*map(repr, choices)]), value)


def check_factor(owner: object, name: str, factor: Any, when: str) -> float:
    """Return what the callable parameter `name` returned, a factor of a learning rate, as a Python float.

    `when` says for what it was asked, for the message. A rate below zero would train backwards.
    """
    rule = f"a callable that returns a float in [0, inf) for {when}"
    number = factor.item() if getattr(factor, "ndim", None) == 0 else factor
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise parameter_error(owner, name, rule, factor, TypeError)
    if not _contains("[0, inf)", number):
        raise parameter_error(owner, name, rule, factor, ValueError)
    return float(number)


def number(interval: str, *also: Any) -> ParameterRule:
    """Return the rule of a parameter that is a number in `interval`, or one of the literals in `also`."""
    return partial(check_number, interval=interval, also=also)


def integer(interval: str, *also: Any) -> ParameterRule:
    """Return the rule of a parameter that is an int in `interval`, or one of the literals in `also`."""
    return partial(check_number, interval=interval, kind=numbers.Integral, also=also)


def one_of(*choices: Any) -> ParameterRule:
    """Return the rule of a parameter that is one of the literals in `choices`."""
    return partial(check_choice, choices=choices)


def callable_or(*choices: Any) -> ParameterRule:
    """Return the rule of a parameter that is a callable or one of the literals in `choices`."""

    def check(owner: object, name: str, value: Any) -> None:
        if not (callable(value) or _is_literal(value, choices)):
            raise parameter_error(owner, name, _join([*map(repr, choices), "a callable"]), value)

    return check


def any_device(owner: object, name: str, value: Any) -> None:
    """Check a parameter that names a device: the rule of the parameter `device`."""
    resolve_device(owner, value)


def any_seed(owner: object, name: str, value: Any) -> None:
    """Check a parameter that seeds random numbers: the rule of the parameter `random_state`."""
    seeded_generator(owner, value, name)


def seeded_generator(owner: object, seed: Any, name: str = "random_state") -> np.random.RandomState:
    """Return the NumPy `RandomState` that a parameter `random_state` stands for."""
    try:
        return check_random_state(seed)
    except (TypeError, ValueError):
        rule = "an int in [0, 2**32 - 1], a RandomState instance or None"
        raise parameter_error(owner, name, rule, seed) from None


def check_parameters(owner: Any) -> None:
    """Raise TypeError or ValueError for the first parameter of an estimator that breaks its rule.

    Parameters
    ----------
    owner : estimator
        Its class holds the table of rules, `_parameter_rules`: by the name of each parameter a function
        ``rule(owner, name, value)`` that raises. A parameter without a rule is not looked at.
    """
    for name, rule in owner._parameter_rules.items():
        rule(owner, name, getattr(owner, name))


def check_fitted(owner: object, name: str, estimator: Any) -> None:
    """Raise TypeError if the parameter `name` is no estimator, and NotFittedError if it is not fitted."""
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise parameter_error(owner, name, "a fitted estimator", estimator, TypeError)
    check_is_fitted(estimator)


def with_plain_numbers(owner: Any) -> Any:
    """Return a shallow copy of an estimator with Python's int, float and bool for all other numbers.

    NumPy's small integers wrap around, its short floats round what they are multiplied with, and torch takes
    neither for a size, nor fractions, nor NumPy's bool.
    """
    plain = copy.copy(owner)
    for name, value in owner.get_params(deep=False).items():
        for kind, make in _PLAIN:
            if isinstance(value, kind) and not isinstance(value, bool):
                setattr(plain, name, make(value))
                break
    return plain


def parameter_error(
    owner: object, name: str, rule: str, value: Any, kind: type[Exception] | None = None
) -> Exception:
    """Build the exception of a bad parameter, in scikit-learn's sentence.

    Without `kind` a value of the wrong type is a TypeError and a wrong string a ValueError.
    """
    if kind is None:
        kind = ValueError if isinstance(value, str) else TypeError
    return kind(f"The {name!r} parameter of {owner_name(owner)} must be {rule}. Got {value!r} instead.")


def owner_name(owner: object) -> str:
    """Return what messages call the estimator, or the function by its name, whose parameter is wrong."""
    return owner if isinstance(owner, str) else type(owner).__name__


def resolve_device(owner: object, device: Any) -> torch.device:
    """Return the torch device to run on: what `device` names, or the best one for ``"auto"``."""
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    rule = "'auto' or a device that torch finds on this machine"
    if not isinstance(device, (str, torch.device)):
        raise parameter_error(owner, "device", rule, device)
    try:
        resolved = torch.device(device)
        # "meta" allocates shapes without numbers, on which there is nothing to compute.
        torch.empty(1, device=resolved).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise parameter_error(owner, "device", rule, device, ValueError) from error
    return resolved


def torch_generator(
    random_state: np.random.RandomState, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a torch generator of our own, seeded with one draw from a NumPy `RandomState`."""
    generator = torch.Generator(device=device)
    return generator.manual_seed(int(random_state.randint(np.iinfo(np.int32).max)))


def as_tensor(array: Any, *, device: Any = "cpu", dtype: torch.dtype | None = None) -> Tensor:
    """Return `array` as a tensor that never aliases read-only memory.

    Writable arrays are shared, not copied, so callers must not write to the result. Arrays that run
    backwards, such as ``X[::-1]``, are copied, since torch has no such tensors.
    """
    if isinstance(array, np.ndarray) and (not array.flags.writeable or min(array.strides, default=0) < 0):
        array = array.copy()
    return torch.as_tensor(array, dtype=dtype, device=device)


def progress(
    iterable: Iterable[_Item] | None, *, verbose: int, description: str, **kwargs: Any
) -> Iterable[_Item]:
    """Wrap `iterable` in a progress bar, or in nothing visible when `verbose` is 0."""
    return tqdm(iterable, desc=description, disable=not verbose, leave=False, **kwargs)


def _is_literal(value: Any, literals: Sequence[Any]) -> bool:
    return any(value is option or _equal_literal(value, option) for option in literals)


def _equal_literal(value: Any, option: Any) -> bool:
    # 1 == True and 1.0 == 1 in Python: a literal is meant with its type, numpy's own str and bool aside.
    if isinstance(option, str):
        return isinstance(value, str) and value == option
    if isinstance(option, bool):
        return isinstance(value, np.bool_) and bool(value) == option
    if isinstance(option, numbers.Integral):
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value == option
    return type(value) is type(option) and value == option


def _contains(interval: str, value: Any) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return bool(above and below)


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
