"""The layers that a fitted pipeline is made of in torch: what each does to a batch of rows, and its bounds.

Every layer takes a tensor of shape (n, n_inputs) and returns one of shape (n, n_outputs). What was fitted is
a buffer, so that a layer moves to a device, is pickled and is saved by `state_dict` as any torch module, and
has nothing to train.

A layer that can be certified also knows what it does to all rows of a box at once: `interval` bounds each
output by itself, `relax` bounds sums of outputs by a linear function of the inputs. `Layer` has neither,
`Monotone` both.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .products import affine
from .rectifier import rectifier_slope, rectify

__all__ = [
    "Affine",
    "Append",
    "Clamp",
    "Columnwise",
    "Concat",
    "Function",
    "Layer",
    "Linear",
    "LogSoftmax",
    "Monotone",
    "Power",
    "Rectifier",
    "Rescale",
    "RowNorm",
    "SShaped",
    "Select",
    "Stretch",
    "TwoColumns",
    "UnboundedError",
    "sequence",
    "two_columns",
]


class UnboundedError(ValueError):
    """A layer of which no bounds are known."""


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

    if TYPE_CHECKING:
        # Buffers are attributes by the names that they were handed in by: tensors, lists of them, or None.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, **buffers: Tensor | Iterable[Tensor] | None):
        super().__init__()
        for name, value in buffers.items():
            if value is None or isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                self.add_module(name, Tensors(value))

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds of each output over the boxes between `lower` and `upper`, both (n, n_inputs)."""
        raise UnboundedError(f"no bounds are known of {type(self).__name__}")

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return a linear lower bound of ``A @ forward(x)`` for every x in a box.

        By default it is a constant, from `interval`.

        Parameters
        ----------
        A : Tensor of shape (n, k, n_outputs), or (1, k, n_outputs) for all boxes alike
        lower, upper : Tensors of shape (n, n_inputs)

        Returns
        -------
        A_in : Tensor of shape (n, k, n_inputs), or None for zeros
        constant : Tensor of shape (n, k)
            ``A @ forward(x) >= A_in @ x + constant``.
        """
        return None, lowest_sum(A, *self.interval(lower, upper))


class Linear(Layer):
    """A layer that is its own linear bound, so that nothing need be known of its input."""

    if TYPE_CHECKING:

        def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
            """Return the function itself, which always has coefficients."""

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of a linear function, column by column."""
        unit = torch.eye(len(self(lower[:1])[0]), dtype=lower.dtype, device=lower.device)[None]
        ends = []
        for sign in (1, -1):
            A, constant = self.relax(sign * unit, lower, upper)
            ends.append(sign * (lowest_sum(A, lower, upper) + constant))
        return ends[0], ends[1]


class Columnwise(Linear):
    """A linear layer that maps each column on its own: ``slope * x + const``."""

    def slope(self) -> Tensor | float:
        """Return the slope of each column."""
        raise NotImplementedError

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of the ends."""
        return sorted_ends(self(lower), self(upper))

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the function itself."""
        return A * self.slope(), A @ self(torch.zeros_like(lower[0])[None])[0]


class Monotone(Layer):
    """A layer that maps each column on its own, by a function that never turns back.

    The image of an interval then lies between the images of its ends.
    """

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of the ends."""
        return sorted_ends(self(lower), self(upper))


class Affine(Linear):
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
        return X @ self.weight if self.bias is None else affine(X, self.weight, self.bias)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the function itself."""
        constant = A.new_zeros(A.shape[:2]) if self.bias is None else A @ self.bias
        A = A @ self.weight.T
        return A, constant if self.shift is None else constant - A @ self.shift

    def extra_repr(self) -> str:
        """Return the numbers of columns."""
        return "{} -> {}".format(*self.weight.shape)


class Rescale(Columnwise):
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

    def slope(self) -> Tensor | float:
        """Return 1 / scale."""
        return 1.0 if self.scale is None else 1 / self.scale

    def extra_repr(self) -> str:
        """Return the number of columns, where something is done to them."""
        return "".join(f"{len(tensor)} columns" for tensor in list(self.buffers())[:1])


class Stretch(Columnwise):
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

    def slope(self) -> Tensor:
        """Return the factor."""
        return self.factor


class Clamp(Monotone):
    """What lies outside ``[low, high]`` is put on its end; the gradient is zero there."""

    low: float
    high: float

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

    power: float

    def __init__(self, power: float = 1.0):
        super().__init__()
        self.power = float(power)

    def forward(self, X: Tensor) -> Tensor:
        """Return the rectified rows."""
        return rectify(X, self.power)

    def relax(
        self, A: Tensor, lower: Tensor, upper: Tensor, touch: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Return chords from above and tangents from below, since the rectifier is convex.

        They are those of `rectifier_lines`, which says what `touch` is. A power below 1 is not convex: its
        bounds are constant.
        """
        if self.power < 1:
            return super().relax(A, lower, upper)
        touch = first_touch(lower, upper, self.power) if touch is None else touch
        return between_lines(A, *rectifier_lines(lower, upper, self.power, touch))

    def extra_repr(self) -> str:
        """Return the exponent."""
        return f"power={self.power:g}"


class Power(Layer):
    """``X ** degree``, for a whole degree of 1 or more."""

    def __init__(self, degree: int):
        super().__init__()
        self.degree = degree

    def forward(self, X: Tensor) -> Tensor:
        """Return the powers."""
        return X**self.degree

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the powers of the ends; an even power is least where its base is nearest to zero."""
        low, high = sorted_ends(self(lower), self(upper))
        return torch.where((lower < 0) & (upper > 0), low.clamp(max=0), low), high

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return chord and tangent where the power is convex or concave, and else its bounds."""
        middle = (lower + upper) / 2
        slope = self.degree * middle ** (self.degree - 1)
        low, high = self.interval(lower, upper)
        lines = _bent(
            self,
            (lower, upper),
            slope,
            convex=(lower >= 0) | (self.degree % 2 == 0),
            concave=(upper <= 0) & (self.degree % 2 == 1),
            otherwise=(torch.zeros_like(low), low, torch.zeros_like(high), high),
        )
        return between_lines(A, *lines)

    def extra_repr(self) -> str:
        """Return the degree."""
        return f"degree={self.degree}"


class SShaped(Monotone):
    """A rising function whose slope rises up to zero and falls from there: "logistic" or "tanh"."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, X: Tensor) -> Tensor:
        """Return the activations."""
        return X.sigmoid() if self.kind == "logistic" else X.tanh()

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return chord and tangent on one side of zero.

        Around it both lines have the smaller slope of both ends, and go through one end each (Singh, Gehr,
        Mirman, Pueschel, Vechev, "Fast and effective robustness certification", NeurIPS 2018).
        """
        low, high = self(lower), self(upper)
        slope = torch.minimum(self._slope(low), self._slope(high)).clamp(min=0)
        lines = _bent(
            self,
            (lower, upper),
            self._slope(self((lower + upper) / 2)),
            convex=upper <= 0,
            concave=lower >= 0,
            otherwise=(slope, low - slope * lower, slope, high - slope * upper),
        )
        return between_lines(A, *lines)

    def _slope(self, value: Tensor) -> Tensor:
        return value * (1 - value) if self.kind == "logistic" else 1 - value * value

    def extra_repr(self) -> str:
        """Return the function."""
        return self.kind


class Function(Layer):
    """A torch function of a batch of rows, which keeps it differentiable.

    Parameters
    ----------
    function : callable
    **kwargs
        Handed to it with each batch.
    """

    function: Callable[..., Tensor]
    kwargs: dict[str, Any]

    def __init__(self, function: Callable[..., Tensor], **kwargs: Any) -> None:
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

    order: float

    def __init__(self, order: float):
        super().__init__()
        self.order = float(order)

    def forward(self, X: Tensor) -> Tensor:
        """Return rows of norm one."""
        if self.order in (2, 3):
            # Powers by way of logarithms take several times as long, and so does a look for rows of zeros.
            powers = X.square() if self.order == 2 else X.square() * X.abs()
            sums = powers.sum(dim=1, keepdim=True)
            return X / sums.masked_fill(sums == 0, 1.0).pow(1 / self.order)
        is_zero = (X == 0).all(dim=1, keepdim=True)
        # The norm has no gradient at zero, and would hand on NaN even where it is not used.
        norms = torch.linalg.vector_norm(X.masked_fill(is_zero, 1.0), ord=self.order, dim=1, keepdim=True)
        return X / norms.masked_fill(is_zero, 1.0)

    def norms(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds of the norm of a row over boxes, each of shape (n, 1)."""
        nearest = torch.maximum(lower, -upper).clamp(min=0)
        ends = nearest, torch.maximum(lower.abs(), upper.abs())
        low, high = (torch.linalg.vector_norm(x, ord=self.order, dim=1, keepdim=True) for x in ends)
        return low, high

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return each column over the norms at their other end; no entry exceeds the limit."""
        smallest, largest = self.norms(lower, upper)
        low = torch.where(lower < 0, lower / smallest, lower / largest)
        high = torch.where(upper > 0, upper / smallest, upper / largest)
        limit = self.limit(lower.shape[1])
        return low.nan_to_num(nan=0.0).clamp(-limit, limit), high.nan_to_num(nan=0.0).clamp(-limit, limit)

    def limit(self, n_columns: int) -> float:
        """Return what no entry exceeds."""
        return 1.0

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return lines between x / largest norm and x / smallest norm, which bend at zero."""
        smallest, largest = self.norms(lower, upper)
        if not (smallest > 0).all():
            return None, lowest_sum(A, *self.interval(lower, upper))
        # From below the bend is concave: the chord; from above convex: the chord as well.
        below = [torch.where(end < 0, end / smallest, end / largest) for end in (lower, upper)]
        above = [torch.where(end > 0, end / smallest, end / largest) for end in (lower, upper)]
        return between_lines(A, *line_through(lower, upper, *below), *line_through(lower, upper, *above))

    def extra_repr(self) -> str:
        """Return the order of the norm."""
        return f"order={self.order:g}"


class Append(Linear):
    """A constant beside the columns."""

    constant: float

    def __init__(self, constant: float):
        super().__init__()
        self.constant = float(constant)

    def forward(self, X: Tensor) -> Tensor:
        """Return the rows with one column more."""
        return nn.functional.pad(X, (0, 1), value=self.constant)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of the columns that come in, and what the constant adds."""
        return A[..., :-1], A[..., -1] * self.constant

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return both ends with the constant."""
        return self(lower), self(upper)

    def extra_repr(self) -> str:
        """Return the constant."""
        return f"{self.constant:g}"


class Select(Linear):
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

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the columns of both ends."""
        return self(lower), self(upper)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients at the places of the columns."""
        A_in = A.new_zeros(*A.shape[:2], lower.shape[1])
        return A_in.index_add_(2, self.columns, A), A.new_zeros(A.shape[:2])

    def extra_repr(self) -> str:
        """Return the number of columns."""
        return f"{len(self.columns)} columns"


class Concat(Layer):
    """What each of several layers makes of the same rows, side by side.

    Parameters
    ----------
    parts : dict of str to Module
    """

    names: list[str]
    parts: torch.nn.ModuleList

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


class TwoColumns(Linear):
    """One column per class: a single column is the score of the second class, and that of the first is 0."""

    def forward(self, X: Tensor) -> Tensor:
        """Return scores of shape (n, n_classes)."""
        return two_columns(X)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of the columns that come in."""
        return A[..., -lower.shape[1] :], A.new_zeros(A.shape[:2])


class LogSoftmax(Layer):
    """From scores to logarithms of probabilities."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithms, whose exponentials sum to one in each row."""
        return X.log_softmax(dim=1)


def sorted_ends(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smaller and the larger of two tensors, entry by entry."""
    return torch.minimum(a, b), torch.maximum(a, b)


def lowest_sum(A: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return the smallest ``A @ h`` for h between the bounds: (n, k) of A (n, k, m) and bounds (n, m)."""
    if len(A) == 1:
        return lower @ A[0].clamp(min=0).T + upper @ A[0].clamp(max=0).T
    products = A.clamp(min=0) @ lower[..., None] + A.clamp(max=0) @ upper[..., None]
    return products[..., 0]


def between_lines(
    A: Tensor, slope: Tensor, intercept: Tensor, slope_above: Tensor, intercept_above: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the linear lower bound of ``A @ h`` where each h lies between two lines of its own input.

    The lines have the shape (n, m), those below also (n, k, m), one for each sum.
    """
    positive, negative = A.clamp(min=0), A.clamp(max=0)
    if slope.ndim == 2:
        slope, constant = slope[:, None], (positive @ intercept[..., None])[..., 0]
    else:
        constant = (positive * intercept).sum(dim=2)
    constant = constant + (negative @ intercept_above[..., None])[..., 0]
    return positive * slope + negative * slope_above[:, None], constant


def line_through(
    lower: Tensor, upper: Tensor, low: Tensor, high: Tensor, otherwise: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of the line from (lower, low) to (upper, high), entry by entry.

    Where both are one point, its slope is `otherwise`.
    """
    width = upper - lower
    is_wide = width >= torch.finfo(width.dtype).tiny
    # The inner `where` keeps 0 / 0 out of the gradient.
    slope = torch.where(is_wide, (high - low) / torch.where(is_wide, width, 1.0), otherwise)
    return slope, low - slope * lower


def first_touch(lower: Tensor, upper: Tensor, power: float) -> Tensor:
    """Return where `rectifier_lines` best touch if nothing is known of the sum that they bound.

    A plain rectifier that bends gets whichever leaves the smaller triangle (Zhang et al. 2018), a power the
    middle of its part above zero.
    """
    return (upper > -lower).to(lower.dtype) if power == 1 else torch.full_like(lower, 0.5)


def rectifier_lines(
    lower: Tensor, upper: Tensor, power: float, touch: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return slope and intercept of a line below, and of one above, the rectifier on intervals.

    It is convex: the chord is above, and a tangent below.

    Parameters
    ----------
    lower, upper : Tensors of shape (n, m)
    power : float
    touch : Tensor of shape (n, m) or (n, k, m), of numbers between 0 and 1
        Which tangent: where it touches, as a share of the part of the interval above zero. The plain
        rectifier has many at zero, where it bends inside the interval, and `touch` is the slope of one.
    """
    chord = line_through(lower, upper, rectify(lower, power), rectify(upper, power))
    start, end = (
        edge.clamp(min=0) if touch.ndim == 2 else edge.clamp(min=0)[:, None] for edge in (lower, upper)
    )
    if power == 1:
        slope = torch.where(end == 0, 0.0, torch.where(start > 0, 1.0, touch))
        return slope, torch.zeros_like(slope), *chord
    at = start + touch * (end - start)
    slope = rectifier_slope(at, power)
    return slope, rectify(at, power) - slope * at, *chord


def _bent(
    function: Callable[[Tensor], Tensor],
    ends: tuple[Tensor, Tensor],
    slope: Tensor,
    *,
    convex: Tensor,
    concave: Tensor,
    otherwise: tuple[Tensor, Tensor, Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """Return the lines below and above a function: slope and intercept of each.

    Where it is convex or concave these are the tangent in the middle, of slope `slope`, and the chord.
    """
    lower, upper = ends
    middle = (lower + upper) / 2
    tangent = slope, function(middle) - slope * middle
    chord = line_through(lower, upper, function(lower), function(upper), slope)
    below = [torch.where(concave, c, o) for c, o in zip(chord, otherwise[:2])]
    above = [torch.where(concave, t, o) for t, o in zip(tangent, otherwise[2:])]
    below = [torch.where(convex, t, o) for t, o in zip(tangent, below)]
    return *below, *(torch.where(convex, c, o) for c, o in zip(chord, above))


def two_columns(scores: Tensor) -> Tensor:
    """Return scores with one column per class: a single column is the score of the second class against 0."""
    if scores.shape[-1] > 1:
        return scores
    return torch.cat([torch.zeros_like(scores), scores], dim=-1)


def sequence(*modules: nn.Module | Callable[..., Tensor] | None) -> nn.Module:
    """Return modules one after the other as one flat `Sequential`, or the only one itself.

    Parameters
    ----------
    *modules : Module, callable or None
        Callables become a `Function`. None, and a `Sequential` inside, leave no trace of their own.
    """
    layers = [layer for module in modules if module is not None for layer in layers_of(module)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def layers_of(module: nn.Module | Callable[..., Tensor]) -> Sequence[nn.Module]:
    """Return the layers of a `Sequential`, those inside it included, or the module itself in a list."""
    if not isinstance(module, nn.Module):
        return [Function(module)]
    # A subclass may do more than to apply its parts in turn.
    if type(module) is not nn.Sequential:
        return [module]
    return [layer for part in module for layer in layers_of(part)]
