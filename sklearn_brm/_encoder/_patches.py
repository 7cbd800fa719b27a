"""Patch encoder: any encoder learned on patches of images, applied at all places, and pooled."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from .._base import (
    DocLinkMixin,
    any_device,
    any_seed,
    as_tensor,
    check_parameters,
    integer,
    number,
    one_of,
    parameter_error,
    progress,
    resolve_device,
    seeded_generator,
)
from .._device import PRECISIONS, compute_dtype, product_dtype
from .._memory import apply_in_batches, with_smaller_batches
from ..functional.convolutions import AgainstMean, Cast, Contrast, Cut, Grid, MaxPool, MeanPool, per_patch
from ..functional.layers import Affine, Rectifier, Rescale, sequence
from ..functional.patches import pool_padding, zca
from ._estimator import WTAEncoder
from ._geometry import Geometry, check_image_shape, check_patch_size, image_geometry
from ._units import against_mean, asked, measures_distances, shortened, unit_layers

_Method = TypeVar("_Method")
_DTYPES = [np.float64, np.float32, np.float16]

# Bytes of a map of one batch: on a processor it stays in the cache from the product to the pooling, and in
# memory that is used again.
_MAP_BYTES = {"cpu": 10 * 2**20}
_MAP_BYTES_ELSEWHERE = 2**28
# Patches are gathered, and channels measured, a few at a time.
_ROWS = 4096


def _any_encoder(owner: object, name: str, value: Any) -> None:
    if value is not None and (isinstance(value, type) or not hasattr(value, "fit")):
        raise parameter_error(owner, name, "a transformer or None", value, TypeError)
    if value is not None and not hasattr(value, "transform"):
        rule = "a transformer, with a method transform, or None"
        raise parameter_error(owner, name, rule, value, TypeError)


def _where_encoder_has(method: str) -> Callable[[_Method], _Method]:
    def check(self: "PatchEncoder") -> bool:
        encoder = getattr(self, "encoder_", self.encoder)
        return encoder is None or hasattr(encoder, method)

    return available_if(check)


class PatchEncoder(DocLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Images as maps of what an encoder, learned on their patches, answers at every place.

    Patches are drawn at random from the images, their contrast is evened out and they are whitened; `encoder`
    learns from them. `transform` lets it answer to every patch of an image, compares its units with each
    other, and pools the answers over windows and over a grid. Several in a Pipeline are the layers of a deep
    network that learns layer by layer, without labels and without back-propagation.

    Parameters
    ----------
    encoder : transformer, default=None
        Learns from patches, one in a row, such as `WTAEncoder`, `KMeans` or `PCA`. None is
        ``WTAEncoder(norm=2)``. ``WTAEncoder(max_iter=0)`` takes patches as they are: the baseline without
        learning.
    image_shape : "auto" or tuple of int, default="auto"
        ``(height, width)`` or ``(height, width, channels)`` of the images that lie in the rows of `X`,
        channels last. "auto" takes square images of one or three channels where the number of columns is
        one, and fewer than 64 other columns as an image of height 1.
    patch_size : int or tuple of (height, width), default=6
        Size of a patch. Images of height 1 have patches of height 1; with ``image_shape="auto"`` a patch is
        never larger than the image.
    stride : int, default=1
        Distance between patches.
    padding : int or "same", default=0
        How many pixels are mirrored at each border. "same" is ``(patch_size - 1) // 2``.
    n_patches : int, default=100_000
        How many patches to learn from; all where there are fewer.
    standardize : bool, default=False
        Whether each channel is centred and divided by its standard deviation over all images, for layers
        above the first.
    contrast : float or None, default=0.01
        Patches are centred and divided by ``sqrt(variance + contrast * mean variance of the patches)``. None
        leaves them as they are.
    whitening : float or None, default=0.1
        Patches are whitened (ZCA) with this share of the mean variance added to each direction. None leaves
        it out.
    activation : {"triangle", "rectifier"} or None, default="triangle"
        "triangle" is by how much a unit answers more than all units do on average, at least 0; of `KMeans`,
        how much nearer it is. "rectifier" is the answer, at least 0. A `WTAEncoder` gives its bare overlaps
        to both. None takes what `encoder` puts out as it is.
    power : float, default=1.0
        Exponent of the activation.
    pooling : {"max", "mean"}, default="max"
        What is taken of a window of `pool_size`.
    pool_size : int, default=None
        Size of square pooling windows, at most that of the map. None leaves the maps as they are.
    pool_stride : int, default=None
        Distance between windows, `pool_size` by default. Windows stick out at each border by half of what
        they overlap, so that 4 and a stride of 2 halve a map.
    grid : int or None, default=2
        The maps are averaged over so many cells along each side: 2 for quadrants. None leaves it out.
    batch_size : int or "auto", default="auto"
        Images at a time. "auto" takes so many that the maps stay in the cache of the processor.
    precision : {"float32", "bfloat16"}, default="float32"
        ``"bfloat16"`` computes the answers of linear encoders in bfloat16, and all that follows, on GPUs and
        on processors with AVX-512, where it takes a fraction of the time. ``"float32"`` uses the precision
        of X, as does ``"bfloat16"`` on other processors, which would be slower by it.
    output_dtype : {"auto", "float16", "float32"}, default="auto"
        Type of the result, that of X by default. "float16" halves the memory that maps take on their way to
        the next layer.
    device : str or torch.device, default="auto"
        Where to compute: ``"auto"`` (CUDA, then MPS, then CPU) or a name such as ``"cpu"`` or ``"cuda:1"``.
    random_state : int, RandomState instance or None, default=None
        Draws the patches, and the seed of an `encoder` that has none.
    verbose : int, default=0
        Show the progress over images.

    Attributes
    ----------
    encoder_ : transformer
        Learned on patches.
    image_shape_ : tuple of (height, width, channels)
        How rows are read.
    image_shape_out_ : tuple of (height, width, n_units)
        The same for what comes out, which the next layer takes for `image_shape`.
    n_patches_ : int
        How many patches were learned from.
    channel_means_, channel_scales_ : ndarrays of shape (channels,) or None
        What `standardize` subtracts and divides by.
    contrast_offset_ : float or None
        What is added to the variance of each patch.
    whitening_ : ndarray of shape (n_pixels, n_pixels) or None
        The whitening matrix; a row is the filter around one pixel.
    whitening_mean_ : ndarray of shape (n_pixels,) or None
        Mean patch, which is subtracted before.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, where X has names that are all strings.

    See Also
    --------
    WTAEncoder : Local learning on rows.
    ReceptiveFieldDisplay : Pictures of the units.

    Notes
    -----
    With `KMeans` and the defaults it is the network of [1]_, for ``patch_size=6`` on images of 32 x 32. Three
    layers of ``WTAEncoder(rule="soft")``, with `standardize` in the place of `contrast` and `whitening`, are
    that of [2]_.

    The answers of `WTAEncoder`, `KMeans` and `PCA` are products that are computed here; every other encoder
    is asked by its `transform`, patch by patch. No map of all images exists before pooling.

    `activation`, `power`, the pooling, `grid`, `batch_size`, `precision` and the rest of what does not touch
    patches can be changed after `fit`.

    References
    ----------
    .. [1] A. Coates, H. Lee, A. Y. Ng, "An analysis of single-layer networks in unsupervised feature
       learning", AISTATS 2011.
    .. [2] A. Journé, H. Garcia Rodriguez, Q. Guo, T. Moraitis, "Hebbian deep learning without feedback", ICLR
       2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_brm import PatchEncoder, WTAEncoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> encoder = PatchEncoder(WTAEncoder(50), patch_size=4, n_patches=5000, random_state=0).fit(X)
    >>> encoder.image_shape_, encoder.image_shape_out_
    ((8, 8, 1), (2, 2, 50))
    >>> encoder.transform(X).shape
    (1797, 200)
    """

    encoder_: Any
    image_shape_: tuple[int, int, int]
    n_patches_: int
    channel_means_: NDArray[np.floating] | None
    channel_scales_: NDArray[np.floating] | None
    contrast_offset_: float | None
    whitening_: NDArray[np.floating] | None
    whitening_mean_: NDArray[np.floating] | None
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_rules = MappingProxyType(
        {
            "encoder": _any_encoder,
            "image_shape": check_image_shape,
            "patch_size": check_patch_size,
            "stride": integer("[1, inf)"),
            "padding": integer("[0, inf)", "same"),
            "n_patches": integer("[1, inf)"),
            "standardize": one_of(True, False),
            "contrast": number("(0, inf)", None),
            "whitening": number("[0, inf)", None),
            "activation": one_of("triangle", "rectifier", None),
            "power": number("(0, inf)"),
            "pooling": one_of("max", "mean"),
            "pool_size": integer("[1, inf)", None),
            "pool_stride": integer("[1, inf)", None),
            "grid": integer("[1, inf)", None),
            "batch_size": integer("[1, inf)", "auto"),
            "precision": one_of(*PRECISIONS),
            "output_dtype": one_of("auto", "float16", "float32"),
            "device": any_device,
            "random_state": any_seed,
            "verbose": integer("[0, inf)", True, False),
        }
    )

    def __init__(
        self,
        encoder: BaseEstimator | None = None,
        *,
        image_shape: str | tuple[int, ...] = "auto",
        patch_size: int | tuple[int, int] = 6,
        stride: int = 1,
        padding: int | str = 0,
        n_patches: int = 100_000,
        standardize: bool = False,
        contrast: float | None = 0.01,
        whitening: float | None = 0.1,
        activation: str | None = "triangle",
        power: float = 1.0,
        pooling: str = "max",
        pool_size: int | None = None,
        pool_stride: int | None = None,
        grid: int | None = 2,
        batch_size: int | str = "auto",
        precision: str = "float32",
        output_dtype: str = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.stride = stride
        self.padding = padding
        self.n_patches = n_patches
        self.standardize = standardize
        self.contrast = contrast
        self.whitening = whitening
        self.activation = activation
        self.power = power
        self.pooling = pooling
        self.pool_size = pool_size
        self.pool_stride = pool_stride
        self.grid = grid
        self.batch_size = batch_size
        self.precision = precision
        self.output_dtype = output_dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from patches of the images in `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images, one per row, channels last. float16, float32 and float64 are kept, all else becomes
            float64.
        y : None
            Ignored.

        Returns
        -------
        self : PatchEncoder
        """
        check_parameters(self)
        X = cast(np.ndarray, validate_data(self, X, dtype=_DTYPES))
        random_state = seeded_generator(self, self.random_state)
        patches = self._measure(X, random_state)
        self._learn(self._new_encoder(random_state), "fit", patches)
        return self

    @_where_encoder_has("partial_fit")
    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from patches of one chunk of images.

        The first chunk decides how channels are standardised, patches normalised and whitened: units learned
        in some coordinates mean nothing in others. It should hold thousands of patches.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images, one per row.
        y : None
            Ignored.

        Returns
        -------
        self : PatchEncoder
        """
        check_parameters(self)
        again = hasattr(self, "encoder_")
        X = cast(np.ndarray, validate_data(self, X, dtype=_DTYPES, reset=not again))
        random_state = seeded_generator(self, self.random_state)
        patches = self._prepared(self._sample(X, random_state)) if again else self._measure(X, random_state)
        self._learn(self.encoder_ if again else self._new_encoder(random_state), "partial_fit", patches)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the pooled maps of each image, as (height, width, units) in a row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images, one per row.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Of the type that `output_dtype` says.

        Raises
        ------
        ValueError
            If an answer overflows the type of the result.
        """
        check_is_fitted(self)
        check_parameters(self)
        X = cast(np.ndarray, validate_data(self, X, dtype=_DTYPES, reset=False))
        device = resolve_device(self, self.device)
        dtype = compute_dtype(_computed(X.dtype), device)
        network = sequence(*self._layers(device, dtype, product_dtype(self.precision, device) or dtype))
        result_dtype = X.dtype if self.output_dtype == "auto" else np.dtype(self.output_dtype)

        def write(rows: Tensor, out: Tensor) -> None:
            out.copy_(network(rows))
            _check_finite(out, result_dtype)

        watch = partial(progress, verbose=self.verbose, description=type(self).__name__)
        apply = partial(
            apply_in_batches,
            write,
            X,
            self._n_features_out,
            device=device,
            dtype=dtype,
            result_dtype=result_dtype,
            watch=watch,
        )
        return with_smaller_batches(self, apply, self._images_at_a_time(device))

    def filters(self) -> tuple[NDArray[np.floating], tuple[int, int, int]]:
        """Return the units of `encoder_` as filters of patches: what they weigh each pixel with.

        Returns
        -------
        weights : ndarray of shape (n_units, n_pixels)
            Its `components_` or `cluster_centers_` through the whitening.
        patch_shape : tuple of (height, width, channels)

        Raises
        ------
        ValueError
            If the encoder has neither.
        """
        check_is_fitted(self)
        learned = [getattr(self.encoder_, name, None) for name in ("components_", "cluster_centers_")]
        weights = next((array for array in learned if array is not None), None)
        if weights is None:
            rule = "an encoder with components_ or cluster_centers_, which filters are made of"
            raise parameter_error(self, "encoder", rule, self.encoder_, ValueError)
        geometry = self._geometry()
        weights = weights if self.whitening_ is None else weights @ self.whitening_
        return weights, (*geometry.patch, geometry.image[2])

    def maps(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return what the units answer at every place, before any pooling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images, one per row.

        Returns
        -------
        maps : ndarray of shape (n_samples, rows, columns, n_units)
        """
        check_is_fitted(self)
        unpooled = copy.copy(self).set_params(pool_size=None, grid=None)
        return np.asarray(unpooled.transform(X)).reshape(-1, *unpooled.image_shape_out_)

    def pixels_behind(self, first: int, last: int, axis: int = 0, *, pooled: bool = True) -> tuple[int, int]:
        """Return which rows or columns of an image stand behind some of those that come out.

        Parameters
        ----------
        first, last : int
            The first and last of them.
        axis : {0, 1}, default=0
            Rows or columns.
        pooled : bool, default=True
            Whether they are counted after the pooling windows, and not in `maps`. The grid is left out.

        Returns
        -------
        first, last : int
            Below 0 and beyond the image where it is mirrored or windows stick out.
        """
        geometry = self._geometry()
        if pooled and geometry.pool is not None:
            size, stride = geometry.pool[axis], geometry.pool_stride
            first = first * stride - pool_padding(size, stride)
            last = last * stride - pool_padding(size, stride) + size - 1
        offset = geometry.padding[axis]
        return first * geometry.stride - offset, last * geometry.stride - offset + geometry.patch[axis] - 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def image_shape_out_(self) -> tuple[int, int, int]:
        """Shape of the images that come out, (height, width, n_units)."""
        check_is_fitted(self)
        try:
            return *self._geometry().shape_out, self._n_units
        except (TypeError, ValueError) as error:
            # Parameters set to nonsense after fit: whoever looks at properties takes no other error.
            raise AttributeError(str(error)) from error

    @property
    def _n_features_out(self) -> int:
        return int(np.prod(self.image_shape_out_))

    def _as_torch(
        self,
        *,
        device: torch.device,
        dtype: torch.dtype,
        convert: Callable[..., nn.Module] | None = None,
    ) -> nn.Module:
        """Return the layers; `convert` makes one of an encoder that is not known here."""
        return copy.deepcopy(sequence(*self._layers(device, dtype, dtype, convert)))

    def _geometry(self) -> Geometry:
        return image_geometry(self, self.n_features_in_)

    def _new_encoder(self, random_state: np.random.RandomState) -> Any:
        encoder = WTAEncoder(norm=2) if self.encoder is None else clone(self.encoder)
        # An encoder without a seed would not be the same twice though this one has one.
        if encoder.get_params(deep=False).get("random_state", 0) is None:
            encoder.set_params(random_state=random_state.randint(np.iinfo(np.int32).max))
        return encoder

    def _learn(self, encoder: Any, method: str, patches: np.ndarray) -> None:
        try:
            getattr(encoder, method)(patches)
        except ValueError as error:
            error.add_note(f"{type(self).__name__} gave its encoder {len(patches)} patches to learn from.")
            raise
        self.encoder_ = encoder
        self._n_units: int = encoder.transform(patches[:1]).shape[1]

    def _measure(self, X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Learn the steps before the encoder from images; return the patches that it is to see."""
        self.image_shape_ = self._geometry().image
        self.channel_means_ = self.channel_scales_ = None
        self.contrast_offset_ = self.whitening_ = self.whitening_mean_ = None
        if self.standardize:
            self.channel_means_, self.channel_scales_ = _channel_statistics(X, self.image_shape_[2])
        patches = self._sample(X, random_state)
        self.n_patches_ = len(patches)
        if self.contrast is not None:
            mean_variance = patches.var(axis=1, dtype=np.float64).mean()
            # Where all patches are flat, anything keeps them so.
            self.contrast_offset_ = float(self.contrast * mean_variance) or 1.0
            patches = self._prepared(patches)
        if self.whitening is not None:
            mean, matrix = zca(as_tensor(patches), float(self.whitening))
            self.whitening_mean_, self.whitening_ = mean.numpy(), matrix.numpy()
            patches = (patches - self.whitening_mean_) @ self.whitening_
        return patches

    def _sample(self, X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Return random patches, standardised by channel, of shape (n_patches, n_pixels)."""
        geometry = self._geometry()
        n_all = len(X) * geometry.n_places
        chosen = np.arange(n_all)
        if self.n_patches < n_all:
            chosen = sample_without_replacement(n_all, self.n_patches, random_state=random_state)
        images, at = np.divmod(chosen, geometry.n_places)
        columns = self._cut(geometry, "cpu").columns.numpy().reshape(geometry.n_places, -1)
        patches = np.empty((len(chosen), geometry.n_pixels), dtype=_computed(X.dtype))
        for start in range(0, len(chosen), _ROWS):
            part = slice(start, start + _ROWS)
            patches[part] = X[images[part, None], columns[at[part]]]
        if self.channel_means_ is not None and self.channel_scales_ is not None:
            per_channel = patches.reshape(len(patches), -1, self.image_shape_[2])
            per_channel -= self.channel_means_.astype(patches.dtype)
            per_channel /= self.channel_scales_.astype(patches.dtype)
        return patches

    def _prepared(self, patches: np.ndarray) -> np.ndarray:
        """Return patches as the encoder sees them, as far as the steps before it are known."""
        dtype = compute_dtype(patches.dtype, "cpu")
        steps = sequence(*self._steps("cpu", dtype))

        def write(rows: Tensor, out: Tensor) -> None:
            out.copy_(steps(rows))

        return apply_in_batches(write, patches, patches.shape[1], _ROWS, device="cpu", dtype=dtype)

    def _steps(self, device: torch.device | str, dtype: torch.dtype) -> Iterator[nn.Module]:
        """Return the layers from a patch to what the encoder sees."""
        if self.contrast_offset_ is not None:
            yield from (AgainstMean(), Contrast(self.contrast_offset_))
        if self.whitening_ is not None:
            matrix, mean = (
                as_tensor(a, device=device, dtype=dtype) for a in (self.whitening_, self.whitening_mean_)
            )
            yield Affine(matrix, shift=mean)

    def _layers(
        self,
        device: torch.device,
        dtype: torch.dtype,
        short_dtype: torch.dtype,
        convert: Callable[..., nn.Module] | None = None,
    ) -> Iterator[nn.Module]:
        """Return the layers from images to pooled maps, with the products of the units in `short_dtype`."""
        geometry = self._geometry()
        if self.channel_means_ is not None and self.channel_scales_ is not None:
            n_pixels = geometry.image[0] * geometry.image[1]
            means, scales = (np.tile(a, n_pixels) for a in (self.channel_means_, self.channel_scales_))
            yield Rescale(*(as_tensor(a, device=device, dtype=dtype) for a in (means, scales)))
        yield self._cut(geometry, device)
        units = shortened(self._answers(device, dtype, convert), short_dtype)
        yield per_patch(sequence(*self._steps(device, dtype), *units), geometry.n_places)
        is_short = short_dtype != dtype and isinstance(units[-1], Affine)
        yield from self._activated_pools(geometry, device, short_dtype if is_short else dtype, dtype)

    def _cut(self, geometry: Geometry, device: torch.device | str) -> Cut:
        return Cut(geometry.image, geometry.patch, geometry.stride, geometry.padding, device)

    def _answers(
        self, device: torch.device, dtype: torch.dtype, convert: Callable[..., nn.Module] | None
    ) -> Sequence[nn.Module]:
        """Return the layers from what the encoder sees to what its activation takes."""
        bare = self.activation is not None
        layers = unit_layers(self.encoder_, bare=bare, device=device, dtype=dtype)
        if layers is None and convert is not None:
            layers = [convert(self.encoder_, "encoder", response="transform")]
        if layers is None:
            layers = [asked(self.encoder_)]
        if self.activation != "triangle":
            return layers
        return against_mean(layers, -1.0 if measures_distances(self.encoder_) else 1.0)

    def _activated_pools(
        self, geometry: Geometry, device: torch.device, short_dtype: torch.dtype, dtype: torch.dtype
    ) -> Iterator[nn.Module]:
        """Return the activation and the pooling of answers that come in `short_dtype`."""
        maps = (*geometry.places, self._n_units)
        # The activation never falls: it comes after the largest answers are found, which are fewer.
        if geometry.pool is not None and self.pooling == "max":
            yield MaxPool(maps, geometry.pool, geometry.pool_stride)
        if self.activation is not None and self.power != 1 and short_dtype != dtype:
            # Powers are several times as slow in short types.
            yield Cast(dtype)
            short_dtype = dtype
        if self.activation is not None:
            yield Rectifier(float(self.power))
        place: dict[str, Any] = {"device": device, "dtype": short_dtype}
        if geometry.pool is not None and self.pooling == "mean":
            yield MeanPool(maps, geometry.pool, geometry.pool_stride, **place)
        if geometry.cells is not None:
            yield Grid((*geometry.pooled, self._n_units), geometry.cells, **place)

    def _images_at_a_time(self, device: torch.device) -> int:
        if self.batch_size != "auto":
            return int(self.batch_size)
        geometry = self._geometry()
        per_image = geometry.n_places * max(self._n_units, geometry.n_pixels)
        n_bytes = per_image * (4 if product_dtype(self.precision, device) is None else 2)
        return max(_MAP_BYTES.get(device.type, _MAP_BYTES_ELSEWHERE) // n_bytes, 1)


def _computed(dtype: np.dtype) -> np.dtype:
    """Return the type to compute in: float16 has too few digits, and is slow."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _channel_statistics(X: np.ndarray, n_channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel over all images, 1 where it does not vary."""
    scaler = StandardScaler()
    for start in range(0, len(X), _ROWS):
        scaler.partial_fit(X[start : start + _ROWS].reshape(-1, n_channels).astype(np.float64))
    return scaler.mean_, scaler.scale_


def _check_finite(features: Tensor, dtype: np.dtype) -> None:
    # A sum is quick, and finite if all are; only a sum that is not asks each of them.
    if not (features.sum().isfinite() or features.isfinite().all()):
        raise ValueError(
            f"The answers of PatchEncoder overflow {dtype}. Lower power, divide X by its largest value, or "
            "use output_dtype='float32' or X in float64."
        )
