"""The layers that a fitted pipeline is made of in torch: what each does to a batch of rows.

Every layer takes a tensor of shape (n, n_inputs) and returns one of shape (n, n_outputs). What was fitted is
a buffer, so that a layer moves to a device, is pickled and is saved by `state_dict` as any torch module, and
has nothing to train.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .rectifier import rectify

__all__ = [
    "Affine",
    "Clamp",
    "Concat",
    "Function",
    "Layer",
    "LogSoftmax",
    "Monotone",
    "Rectifier",
    "Rescale",
    "RowNorm",
    "Select",
    "Stretch",
    "TwoColumns",
    "sequence",
    "two_columns",
]


class Tensors(nn.Module):
    """A list of buffers."""

    def __init__(self, tensors: Iterable[Tensor]):
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_buffer(str(i), tensor)

    def __iter__(self) -> Iterator[Tensor]:
        return self.buffers()

    def __len__(self) -> int:
        return len(self._buffers)


class Layer(nn.Module):
    """A step from rows to rows, whose fitted numbers are buffers.

    Subclass it for a step of your own: hand the tensors to this constructor by name, and write `forward`.

    Parameters
    ----------
    **buffers : Tensor, list of Tensors, or None
        What was fitted, by the names of the attributes.

    Examples
    --------
    >>> import torch
    >>> from sklearn_brm.functional.layers import Layer
    >>> class Shift(Layer):
    ...     def forward(self, X):
    ...         return X - self.offset
    >>> Shift(offset=torch.ones(2))(torch.zeros(1, 2))
    tensor([[-1., -1.]])
    """

    def __init__(self, **buffers: Tensor | Iterable[Tensor] | None):
        super().__init__()
        for name, value in buffers.items():
            if value is None or isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                self.add_module(name, Tensors(value))


class Monotone(Layer):
    """A layer that maps each column on its own, by a function that never turns back.

    The image of an interval then lies between the images of its ends.
    """


class Affine(Layer):
    """``(X - shift) @ weight + bias``.

    Parameters
    ----------
    weight : Tensor of shape (n_inputs, n_outputs)
    bias : Tensor of shape (n_outputs,), optional
    shift : Tensor of shape (n_inputs,), optional
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, shift: Tensor | None = None):
        super().__init__(weight=weight, bias=bias, shift=shift)

    def forward(self, X: Tensor) -> Tensor:
        """Return the products, of shape (n, n_outputs)."""
        X = X if self.shift is None else X - self.shift
        return X @ self.weight if self.bias is None else torch.addmm(self.bias, X, self.weight)

    def extra_repr(self) -> str:
        """Return the numbers of columns."""
        return "{} -> {}".format(*self.weight.shape)


class Rescale(Monotone):
    """``(X - shift) / scale``, column by column.

    Parameters
    ----------
    shift, scale : Tensors of shape (n_inputs,), or None
    """

    def __init__(self, shift: Tensor | None, scale: Tensor | None):
        super().__init__(shift=shift, scale=scale)

    def forward(self, X: Tensor) -> Tensor:
        """Return the rescaled rows."""
        X = X if self.shift is None else X - self.shift
        return X if self.scale is None else X / self.scale

    def extra_repr(self) -> str:
        """Return the number of columns, where something is done to them."""
        return "".join(f"{len(tensor)} columns" for tensor in list(self.buffers())[:1])


class Stretch(Monotone):
    """``X * factor + offset``, column by column.

    Parameters
    ----------
    factor : Tensor of shape (n_inputs,) or ()
    offset : Tensor of shape (n_inputs,), optional
    """

    def __init__(self, factor: Tensor, offset: Tensor | None = None):
        super().__init__(factor=factor, offset=offset)

    def forward(self, X: Tensor) -> Tensor:
        """Return the stretched rows."""
        X = X * self.factor
        return X if self.offset is None else X + self.offset


class Clamp(Monotone):
    """What lies outside ``[low, high]`` is put on its end; the gradient is zero there."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = float(low), float(high)

    def forward(self, X: Tensor) -> Tensor:
        """Return the rows inside the interval."""
        return X.clamp(self.low, self.high)

    def extra_repr(self) -> str:
        """Return the interval."""
        return f"{self.low:g}, {self.high:g}"


class Rectifier(Monotone):
    """``max(0, X) ** power``."""

    def __init__(self, power: float = 1.0):
        super().__init__()
        self.power = float(power)

    def forward(self, X: Tensor) -> Tensor:
        """Return the rectified rows."""
        return rectify(X, self.power)

    def extra_repr(self) -> str:
        """Return the exponent."""
        return f"power={self.power:g}"


class Function(Layer):
    """A torch function of a batch of rows, which keeps it differentiable.

    Parameters
    ----------
    function : callable
    **kwargs
        Handed to it with each batch.
    """

    def __init__(self, function: Callable[..., Tensor], **kwargs):
        super().__init__()
        self.function, self.kwargs = function, kwargs

    def forward(self, X: Tensor) -> Tensor:
        """Return what the function makes of the rows."""
        return self.function(X, **self.kwargs)

    def extra_repr(self) -> str:
        """Return the name of the function and its arguments."""
        words = [getattr(self.function, "__name__", type(self.function).__name__)]
        return ", ".join([*words, *(f"{name}={value!r}" for name, value in self.kwargs.items())])


class RowNorm(Layer):
    """Each row divided by its `order`-norm; rows of zeros stay, with the gradient of the identity."""

    def __init__(self, order: float):
        super().__init__()
        self.order = float(order)

    def forward(self, X: Tensor) -> Tensor:
        """Return rows of norm one."""
        is_zero = (X == 0).all(dim=1, keepdim=True)
        # The norm has no gradient at zero, and would hand on NaN even where it is not used.
        norms = torch.linalg.vector_norm(X.masked_fill(is_zero, 1.0), ord=self.order, dim=1, keepdim=True)
        return X / norms.masked_fill(is_zero, 1.0)

    def extra_repr(self) -> str:
        """Return the order of the norm."""
        return f"order={self.order:g}"


class Select(Layer):
    """Some of the columns, in an order of their own.

    Parameters
    ----------
    columns : Tensor of shape (n_outputs,), dtype int64
    """

    def __init__(self, columns: Tensor):
        super().__init__(columns=columns)

    def forward(self, X: Tensor) -> Tensor:
        """Return the columns."""
        return X[:, self.columns]

    def extra_repr(self) -> str:
        """Return the number of columns."""
        return f"{len(self.columns)} columns"


class Concat(Layer):
    """What each of several layers makes of the same rows, side by side.

    Parameters
    ----------
    parts : dict of str to Module
    """

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__()
        # Names of users' steps need not be names of attributes, as torch wants them.
        self.names, self.parts = list(parts), nn.ModuleList(parts.values())

    def forward(self, X: Tensor) -> Tensor:
        """Return the outputs of all parts in one row."""
        return torch.cat([part(X) for part in self.parts], dim=1)

    def extra_repr(self) -> str:
        """Return the names of the parts."""
        return ", ".join(self.names)


class TwoColumns(Layer):
    """One column per class: a single column is the score of the second class, and that of the first is 0."""

    def forward(self, X: Tensor) -> Tensor:
        """Return scores of shape (n, n_classes)."""
        return two_columns(X)


class LogSoftmax(Layer):
    """From scores to logarithms of probabilities."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms, whose exponentials sum to one in each row."""
        return X.log_softmax(dim=1)


def two_columns(scores: Tensor) -> Tensor:
    """Return scores with one column per class: a single column is the score of the second class against 0."""
    if scores.shape[1] > 1:
        return scores
    return torch.cat([torch.zeros_like(scores), scores], dim=1)


def sequence(*modules: nn.Module | Callable | None) -> nn.Module:
    """Return modules one after the other as one flat `Sequential`, or the only one itself.

    Parameters
    ----------
    *modules : Module, callable or None
        Callables become a `Function`. None, and a `Sequential` inside, leave no trace of their own.
    """
    layers = [layer for module in modules if module is not None for layer in layers_of(module)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def layers_of(module: nn.Module | Callable) -> Sequence[nn.Module]:
    """Return the layers of a `Sequential`, those inside it included, or the module itself in a list."""
    if not isinstance(module, nn.Module):
        return [Function(module)]
    # A subclass may do more than to apply its parts in turn.
    if type(module) is not nn.Sequential:
        return [module]
    return [layer for part in module for layer in layers_of(part)]
