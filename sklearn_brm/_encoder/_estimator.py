"""Winner-take-all encoder: a representation learned by local plasticity, without labels."""

import math
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn.functional import pad

from .._base import (
    DocLinkMixin,
    any_device,
    any_seed,
    as_tensor,
    callable_or,
    check_choice,
    check_factor,
    check_parameters,
    integer,
    number,
    one_of,
    progress,
    resolve_device,
    seeded_generator,
)
from .._checkpoints import checkpoint_of, state_of
from .._device import PRECISIONS, compute_dtype, product_dtype
from .._memory import apply_in_batches, with_smaller_batches
from ..functional.layers import Affine, Append, Rectifier, RowNorm, sequence
from ..functional.plasticity import (
    PlasticLayer,
    Rule,
    converged_units,
    diverged_units,
    forward,
    minibatch_step,
    power_weights,
    sample_step,
    scale_to_radius,
    soft_step,
)
from ..functional.schedules import SCHEDULES
from ._feeds import Feed, RowFeed
from ._initial_weights import given_weights, initial_weights, median_length
from ._learning import Learner
from ._pruning import noise_cut
from ._troubles import check_features, check_radius, warn_of_dead, warn_of_diverged, warn_of_open

_STEPS = {"minibatch": minibatch_step, "sample": sample_step, "soft": soft_step}
_INITS = ("rows", "normal", "spread")
_DTYPES = [np.float64, np.float32]

# max_iter=None means so many epochs, and more where they hold fewer updates: the size of a step does not
# depend on the batch, so that updates, not epochs, say how far the weights can go.
_EPOCHS = 20
_UPDATES = 1000

# Of the published encoder, for images.
_NORM, _POWER = 3.0, 4.5

# Dividing a row by its norm takes one of so few dimensions that the loss is felt.
_FEW_FEATURES = 16

# The soft rule starts far outside of the radius, which units of random weights reach on their way in.
_SOFT_START = 25.0

_TRANSFORM_ROWS = 2048


def _known_init(owner: object, name: str, value: Any) -> None:
    """Check the name of an initialisation; weights are checked where the number of features is known."""
    if isinstance(value, str):
        check_choice(owner, name, value, _INITS)


class WTAEncoder(DocLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Winner-take-all encoder after Krotov and Hopfield.

    Units compete for every row: the winner moves towards it, the unit of rank `rank` away from it. No labels
    and no back-propagation take part. `transform` returns ``relu(h)^power`` of the overlaps ``h = sum_i
    sign(W_i) |W_i|^(norm - 1) x_i`` of each row with each unit.

    Parameters
    ----------
    n_components : int, default=100
        Number of units.
    norm : float or "auto", default="auto"
        The Lebesgue norm p, at least 2, of the rows and of the units. "auto" is the published 3 where no
        number in the rows of `fit` is negative, as in images, and else 2: a larger one gives the few large
        numbers of a row more say, which in scaled columns are rare categories and outliers.
    rank : int, default=2
        The rank k of the inhibited unit, at least 2, clipped to the number of units.
    inhibition : float, default=0.4
        Strength Delta of the anti-Hebbian update.
    inhibited : {"last", "all"}, default="last"
        Whether only the unit of rank `rank` is inhibited, or all of ranks 2 to `rank`.
    radius : float, default=1.0
        The p-norm R that units converge to.
    power : float, "auto" or None, default="auto"
        Exponent of the rectified overlaps, at least 1. None returns the bare overlaps. "auto" is the
        published 4.5 where no number in the rows of `fit` is negative, as in images: such rows overlap with
        all units, and only a power tells the near ones from the rest. Else it is 1: centred rows overlap with
        half of the units, and under a power little is left of most overlaps. Beside a constant, see
        `normalize`, it is then 2, since there most overlaps are positive.
    rule : {"minibatch", "sample", "soft"}, default="minibatch"
        ``"minibatch"`` sums the increments of a batch and scales them by the largest; ``"sample"`` is the
        exact sequential rule of [1]_, eq. 3, one row after the other, which is slow. ``"soft"`` is that of
        [3]_: all units learn from every row by their share of ``softmax(inverse_temperature * h)``, the
        winner towards it and all others away from it, and each the slower the nearer its norm is to
        `radius`. It was published for ``norm=2`` and ``normalize=False``, and does without `rank`,
        `inhibition`, `inhibited` and `revive`.
    inverse_temperature : float, default=1.0
        How much the soft rule favours the largest overlaps.
    learning_rate : float, default=0.02
        For the minibatch rule the largest change of any weight in one update, in units of `radius`. For the
        sample rule the share of the way that a winner moves towards a row, ``radius^(norm - 1) / tau``.
    schedule : {"constant", "linear", "cosine"} or callable, default="linear"
        Factor of the learning rate: 1, falling from 1 to 0 over the updates of `fit` in a line or along half
        a cosine, or a function of the share of updates done, in [0, 1), that returns 0 or more.
    max_iter : int or None, default=None
        Number of epochs. 0 keeps the initial weights, which is the baseline without learning. None means 20,
        or as many as make 1000 updates: the size of a step does not depend on `batch_size`, so too few
        updates leave the units where they started.
    batch_size : int, default=100
        Rows per update of the minibatch rule; the last batch of an epoch may be smaller.
    init : {"rows", "normal", "spread"} or array-like of shape (n_components, n_features), default="rows"
        Initial weights: rows of X drawn at random and scaled to the radius, N(0, 1) as published, or rows
        far from each other, chosen as k-means++ does among five times as many. Units beyond the number of
        rows start as random mixtures of two rows. Under the soft rule, which would leave units at the radius
        where they are, all but given weights start at 25 times the radius.
    normalize : bool or "auto", default="auto"
        Divide each row by its p-norm, in `fit` and in `transform`. Rows of zeros stay zero. With fewer than
        16 features "auto" first puts a constant beside them, the median p-norm of the rows: else the
        division would lose the length of a row, which is one of few numbers. It does not with an array
        for `init`.
    tol : float, default=1e-2
        Relative to `radius`: a unit has converged when its p-norm is so close to it; training ends when all
        units that win rows have, and none moved farther in an epoch.
    n_iter_no_change : int or None, default=3
        For how many epochs in a row this must hold. None never ends early.
    revive : bool, default=True
        During the first half of `fit`, start units that won nothing in an epoch anew from rows that are far
        from their winner.
    prune : {False, "mixture"}, default=False
        Set units to zero that stayed noise, as told by their variance over the features: Gaussian mixtures
        are fitted to its logarithm, and units above the midpoint of the two highest means are cut. Only
        `fit` prunes.
    precision : {"float32", "bfloat16"}, default="float32"
        ``"bfloat16"`` computes the matrix products of training in bfloat16, with the weights in the
        precision of X, on GPUs and on processors with AVX-512. ``"float32"`` uses the precision of X for
        both, as does ``"bfloat16"`` on other processors, which would be slower by it.
    device : str or torch.device, default="auto"
        Where to compute: ``"auto"`` (CUDA, then MPS, then CPU) or a name such as ``"cpu"`` or ``"cuda:1"``.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights and the order of rows.
    verbose : int, default=0
        Show the progress over epochs.
    warm_start : bool, default=False
        Start `fit` from the `components_` of the last call.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The weights W, one unit per row.
    norm_ : float
        What ``norm="auto"`` stands for, 3.0 or 2.0. In `partial_fit` that of the first chunk.
    power_ : float
        What ``power="auto"`` stands for, 4.5, 2.0 or 1.0. In `partial_fit` it is not 4.5 from the first chunk
        on in which a number is negative.
    constant_ : float
        The constant beside the features of each row, 0.0 if there is none; see `normalize`.
    constant_weights_ : ndarray of shape (n_components,)
        The weight of the constant in each unit, which counts for the p-norm of the unit.
    converged_ : ndarray of shape (n_components,)
        Which units have a p-norm within `tol` of the radius.
    dead_ : ndarray of shape (n_components,)
        Which units won no row in the last epoch, or since the first call of `partial_fit`.
    diverged_ : ndarray of shape (n_components,)
        Which units went to the wrong attractor: mean weight below ``-radius / 2``, and not converged.
    n_wins_ : ndarray of shape (n_components,)
        Number of rows won by each unit in the last epoch, or in all calls of `partial_fit`.
    weight_variances_ : ndarray of shape (n_components,)
        Variance over the features of each unit, before pruning.
    pruned_ : ndarray of shape (n_components,)
        Which units were set to zero by `prune`.
    prune_threshold_ : float
        The variance above which units were pruned; infinity where there was nothing to prune.
    history_ : dict of lists
        Per epoch: ``"converged"``, the share of units converged; ``"largest_change"``, the largest p-norm of
        a change of a unit in units of the radius (of at most 256 units, evenly spaced); ``"winners"``, the
        number of units that won a row.
    n_iter_ : int
        Number of epochs run by `fit`.
    n_updates_ : int
        Number of updates run.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, where X has names that are all strings.

    See Also
    --------
    sklearn.cluster.MiniBatchKMeans : Prototypes that move by the mean of what they win, without inhibition.

    Notes
    -----
    Departures from the published code [1]_ [2]_: units start from rows of the data (`init`); the learning
    rate falls per update and not per epoch; the last partial batch is used; the learning rate is in units of
    the radius; the largest increment that steps are scaled by has a floor at rounding noise; dead units are
    revived (`revive`).

    Only the units that win or are inhibited change in an update; the others are neither read nor written.
    The units after `fit` are the same bits for the same `random_state` on the same CPU with the same number
    of threads; with another number they, and what `transform` returns, agree to rounding.

    References
    ----------
    .. [1] D. Krotov and J. J. Hopfield, "Unsupervised learning by competing hidden units", PNAS 116 (2019),
       doi:10.1073/pnas.1820458116.
    .. [2] K. Holzhausen, M. Merlid, H. O. Torvik, A. Malthe-Sørenssen, M. E. Lepperød, "Exploring
       biologically inspired mechanisms of adversarial robustness", Neural Computing and Applications (2025),
       doi:10.1007/s00521-025-11019-6.
    .. [3] A. Journé, H. Garcia Rodriguez, Q. Guo, T. Moraitis, "Hebbian deep learning without feedback", ICLR
       2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_brm import WTAEncoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> encoder = WTAEncoder(n_components=50, random_state=0).fit(X)
    >>> encoder.transform(X).shape
    (1797, 50)
    >>> bool(encoder.converged_.mean() > 0.9)
    True
    """

    components_: NDArray[np.floating]
    constant_weights_: NDArray[np.floating]
    constant_: float
    norm_: float
    power_: float
    n_wins_: NDArray[np.integer]
    dead_: NDArray[np.bool_]
    converged_: NDArray[np.bool_]
    diverged_: NDArray[np.bool_]
    weight_variances_: NDArray[np.floating]
    pruned_: NDArray[np.bool_]
    prune_threshold_: float
    history_: dict[str, list[Any]]
    n_iter_: int
    n_updates_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_rules = MappingProxyType(
        {
            "n_components": integer("[1, inf)"),
            "norm": number("[2, inf)", "auto"),
            "rank": integer("[2, inf)"),
            "inhibition": number("[0, inf)"),
            "inhibited": one_of("last", "all"),
            "radius": number("(0, inf)"),
            "power": number("[1, inf)", "auto", None),
            "rule": one_of(*_STEPS),
            "inverse_temperature": number("(0, inf)"),
            "learning_rate": number("(0, inf)"),
            "schedule": callable_or(*SCHEDULES),
            "max_iter": integer("[0, inf)", None),
            "batch_size": integer("[1, inf)"),
            "init": _known_init,
            "normalize": one_of("auto", True, False),
            "tol": number("(0, inf)"),
            "n_iter_no_change": integer("[1, inf)", None),
            "revive": one_of(True, False),
            "prune": one_of(False, "mixture"),
            "precision": one_of(*PRECISIONS),
            "device": any_device,
            "random_state": any_seed,
            "verbose": integer("[0, inf)", True, False),
            "warm_start": one_of(True, False),
        }
    )

    def __init__(
        self,
        n_components: int = 100,
        *,
        norm: float | str = "auto",
        rank: int = 2,
        inhibition: float = 0.4,
        inhibited: str = "last",
        radius: float = 1.0,
        power: float | str | None = "auto",
        rule: str = "minibatch",
        inverse_temperature: float = 1.0,
        learning_rate: float = 0.02,
        schedule: str | Callable[[float], float] = "linear",
        max_iter: int | None = None,
        batch_size: int = 100,
        init: str | ArrayLike = "rows",
        normalize: str | bool = "auto",
        tol: float = 1e-2,
        n_iter_no_change: int | None = 3,
        revive: bool = True,
        prune: bool | str = False,
        precision: str = "float32",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_components = n_components
        self.norm = norm
        self.rank = rank
        self.inhibition = inhibition
        self.inhibited = inhibited
        self.radius = radius
        self.power = power
        self.rule = rule
        self.inverse_temperature = inverse_temperature
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.init = init
        self.normalize = normalize
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.revive = revive
        self.prune = prune
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    @torch.no_grad()
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the units from the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Dense and finite. float32 and float64 are kept, all else becomes float64.
        y : None
            Ignored.

        Returns
        -------
        self : WTAEncoder
        """
        check_parameters(self)
        again = bool(self.warm_start) and hasattr(self, "components_")
        X, rows = self._check_rows(X, again)
        learner, random_state = with_smaller_batches(
            self, partial(self._learn_in_epochs, rows, again), self._rows_per_update()
        )
        self._store(learner, n_placed=int(self.n_components))
        self.history_ = learner.history
        self.n_iter_ = len(learner.history["converged"])
        self.n_updates_ = learner.n_updates
        if self.prune:
            self._prune_noise(random_state)
        if self.n_updates_:
            self._warn_of_trouble(X, rows)
        return self

    @torch.no_grad()
    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from one chunk of rows, in the order given.

        The end is not known, so the learning rate stays where the schedule starts. With ``init="rows"`` or
        ``"spread"`` the first rows to arrive become units until all units are taken. Convergence is reported
        by the attributes but not warned of.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            One row or more.
        y : None
            Ignored.

        Returns
        -------
        self : WTAEncoder
        """
        check_parameters(self)
        again = hasattr(self, "components_")
        _, rows = self._check_rows(X, again)
        learner, n_placed = with_smaller_batches(
            self, partial(self._learn_as_they_come, rows, again), self._rows_per_update()
        )
        if again:
            learner.wins += torch.as_tensor(self.n_wins_, device=learner.wins.device)
        self._store(learner, n_placed)
        self.n_updates_ = learner.n_updates + (self.n_updates_ if again else 0)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return ``relu(h)^power`` of the overlaps of each row with each unit, or the bare overlaps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            float32 if `X` is, else float64.

        Raises
        ------
        ValueError
            If a feature overflows; the message says what to change.
        """
        check_is_fitted(self)
        X = cast(np.ndarray, validate_data(self, X, reset=False, dtype=_DTYPES))
        device = resolve_device(self, self.device)
        dtype = compute_dtype(X.dtype, device)
        A, p, power = self._powers(device, dtype), self._order(), self._exponent()
        encode = partial(forward, A=A, p=p, power=power, normalize=bool(self.normalize))

        def write(rows: Tensor, out: Tensor) -> None:
            rows = pad(rows, (0, 1), value=self.constant_) if self.constant_ else rows
            if device.type == "cpu":
                encode(rows, out=out)
            else:
                out.copy_(encode(rows).cpu())
            check_features(type(self).__name__, out, X.dtype, **self._scales())

        encode_all = partial(apply_in_batches, write, X, len(self.components_), device=device, dtype=dtype)
        return with_smaller_batches(self, encode_all, _TRANSFORM_ROWS)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _as_torch(self, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
        power = self._exponent()
        return sequence(
            Append(self.constant_) if self.constant_ else None,
            RowNorm(self._order()) if self.normalize else None,
            Affine(self._powers(device, dtype).T.clone(memory_format=torch.contiguous_format)),
            None if power is None else Rectifier(power),
        )

    def _powers(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return what rows are multiplied by, of shape (n_components, n_features + n_constants)."""
        return power_weights(as_tensor(self._weights(), device=device, dtype=dtype), self._order())

    def _look_at(self, X: NDArray[np.floating], again: bool) -> None:
        """Choose what "auto" means for the norm, the constant and the power."""
        is_image_like = bool(X.min() >= 0) and (not again or self.power_ == _POWER)
        if not again:
            # Units that have learned under one norm are none under another.
            self.norm_ = _NORM if is_image_like else 2.0
            lifts = self.normalize == "auto" and isinstance(self.init, str) and X.shape[1] < _FEW_FEATURES
            self.constant_ = median_length(X, self._order()) if lifts else 0.0
        # Beside a constant most overlaps are positive: without a power, features would be linear in the row.
        self.power_ = _POWER if is_image_like else 2.0 if self.constant_ else 1.0

    def _order(self) -> float:
        """Return the p of the p-norm."""
        return self.norm_ if isinstance(self.norm, str) else float(self.norm)

    def _exponent(self) -> float | None:
        """Return the exponent that `power` says, or None for bare overlaps."""
        if self.power is None:
            return None
        return self.power_ if isinstance(self.power, str) else float(self.power)

    def _check_rows(self, X: ArrayLike, again: bool) -> tuple[np.ndarray, np.ndarray]:
        """Check `X`; return it, and its rows as the units see them."""
        X = cast(np.ndarray, validate_data(self, X, reset=not again, dtype=_DTYPES, order="C"))
        self._look_at(X, again)
        check_radius(type(self).__name__, X.dtype, **self._scales())
        return X, self._with_constant(X)

    def _scales(self) -> dict[str, Any]:
        """Return the parameters that say how large powers of weights and features become."""
        return {
            "norm": self._order(),
            "radius": self.radius,
            "power": self._exponent(),
            "normalize": self.normalize,
        }

    def _with_constant(self, X: np.ndarray) -> np.ndarray:
        """Return the rows as units see them: a constant beside few features keeps their length."""
        return np.pad(X, ((0, 0), (0, 1)), constant_values=self.constant_) if self.constant_ else X

    def _weights(self) -> np.ndarray:
        """Return the units with the weight of the constant, if there is one."""
        if not self.constant_:
            return self.components_
        return np.column_stack([self.components_, self.constant_weights_])

    def _feed(self, X: np.ndarray) -> Feed:
        device = resolve_device(self, self.device)
        norm = self._order() if self.normalize else None
        return RowFeed(X, device=device, dtype=compute_dtype(X.dtype, device), norm=norm)

    def _learn_in_epochs(
        self, X: np.ndarray, again: bool, batch_size: int
    ) -> tuple[Learner, np.random.RandomState]:
        """Learn from all rows, over and over; return the learner, and the random state for what follows."""
        random_state = seeded_generator(self, self.random_state)
        feed = self._feed(X)
        W = self._learned_weights(feed) if again else self._starting_weights(feed, random_state)
        updates_per_epoch = math.ceil(len(feed) / batch_size)
        n_epochs = self._n_epochs(updates_per_epoch)
        learner = self._learner(W, batch_size, n_updates=n_epochs * updates_per_epoch)

        def state() -> dict[str, Any]:
            return {"learner": learner.state(), "random_state": state_of(random_state)}

        identity = partial(self._identity, X, learner, random_state)
        with checkpoint_of(type(self).__name__, identity) as checkpoint:
            if checkpoint.state is not None:
                learner.go_on_from(checkpoint.state["learner"])
                random_state.set_state(checkpoint.state["random_state"])
            done = n_epochs if learner.is_over else learner.n_epochs
            bar = {"initial": done, "total": n_epochs}
            epochs = progress(range(done, n_epochs), verbose=self.verbose, description="WTAEncoder", **bar)
            learner.train(
                feed,
                (random_state.permutation(len(feed)) for _ in epochs),
                tol=float(self.tol),
                patience=self.n_iter_no_change,
                last_revival=n_epochs // 2 if self.revive and self.rule != "soft" else 0,
                random_state=random_state,
                after_epoch=lambda: checkpoint.keep(state),
            )
        return learner, random_state

    def _identity(
        self, X: np.ndarray, learner: Learner, random_state: np.random.RandomState
    ) -> dict[str, Any]:
        """Return everything that learning in epochs depends on, by what the user calls it."""
        settings = self.get_params(deep=False)
        for name in ("verbose", "warm_start", "random_state", "init", "device"):
            del settings[name]
        W = learner.layer.W
        return settings | {
            "batch_size": learner.batch_size,
            "device": W.device.type,
            "X": X,
            "first weights": W.cpu().numpy(),
            "random_state": state_of(random_state),
        }

    def _learn_as_they_come(self, X: np.ndarray, again: bool, batch_size: int) -> tuple[Learner, int]:
        """Learn once from each row; return the learner, and how many units have a place."""
        feed = self._feed(X)
        W, n_placed = self._growing_weights(feed, again)
        learner = self._learner(W, batch_size)
        learner.learn(feed, np.arange(len(feed)))
        return learner, n_placed

    def _learner(self, W: Tensor, batch_size: int, n_updates: float = math.inf) -> Learner:
        """Prepare the training of the weights `W`, for which `n_updates` are foreseen."""
        schedule = self.schedule if callable(self.schedule) else SCHEDULES[self.schedule]
        learning_rate, R = float(self.learning_rate), float(self.radius)
        strengths = {"delta": float(self.inhibition), "t": float(self.inverse_temperature)}

        def rate(update: int) -> float:
            share = update / n_updates
            return learning_rate * check_factor(
                self, "schedule", schedule(share), f"the share {share:.3g} of updates"
            )

        return Learner(
            PlasticLayer(W, self._order(), product_dtype=product_dtype(self.precision, W.device)),
            Rule(R=R, k=int(self.rank), all_ranks=self.inhibited == "all", **strengths),
            step=_STEPS[self.rule],
            rate=rate,
            batch_size=batch_size,
        )

    def _rows_per_update(self) -> int:
        return 1 if self.rule == "sample" else int(self.batch_size)

    def _n_epochs(self, updates_per_epoch: int) -> int:
        if self.max_iter is not None:
            return int(self.max_iter)
        return max(_EPOCHS, math.ceil(_UPDATES / updates_per_epoch))

    def _starting_weights(self, feed: Feed, random_state: np.random.RandomState) -> Tensor:
        W = initial_weights(
            self.init,
            feed,
            int(self.n_components),
            norm=self._order(),
            radius=float(self.radius),
            random_state=random_state,
        )
        if self.rule == "soft" and isinstance(self.init, str):
            scale_to_radius(W, self._order(), self._starting_radius())
        return W

    def _starting_radius(self) -> float:
        return float(self.radius) * (_SOFT_START if self.rule == "soft" else 1.0)

    def _learned_weights(self, feed: Feed) -> Tensor:
        return given_weights(self._weights(), "components_", feed, int(self.n_components))

    def _growing_weights(self, feed: Feed, again: bool) -> tuple[Tensor, int]:
        """Return the weights to go on from, with new rows in free places, and how many are taken then."""
        n_units = int(self.n_components)
        if again:
            W, n_placed = self._learned_weights(feed), self._n_placed
        elif not isinstance(self.init, str) or self.init == "normal":
            W, n_placed = self._starting_weights(feed, seeded_generator(self, self.random_state)), n_units
        else:
            W, n_placed = torch.zeros(n_units, feed.n_features, dtype=feed.dtype, device=feed.device), 0
        if n_placed < n_units:
            rows = feed.with_length()[: n_units - n_placed]
            place = slice(n_placed, n_placed + len(rows))
            W[place] = scale_to_radius(feed.take(rows), self._order(), self._starting_radius())
            n_placed += len(rows)
        return W, n_placed

    def _store(self, learner: Learner, n_placed: int) -> None:
        self._n_placed = n_placed
        W = learner.layer.W
        constants = {"p": self._order(), "R": float(self.radius), "tol": float(self.tol)}
        weights = W.cpu().numpy()
        self.components_, self.constant_weights_ = weights, np.zeros(len(W), dtype=weights.dtype)
        if self.constant_:
            self.components_, self.constant_weights_ = weights[:, :-1].copy(), weights[:, -1].copy()
        self.n_wins_ = learner.wins.cpu().numpy()
        self.dead_ = (self.n_wins_ == 0) & (learner.n_updates > 0)
        self.converged_ = converged_units(W, **constants).cpu().numpy()
        self.diverged_ = diverged_units(W, **constants).cpu().numpy()
        self.weight_variances_ = W.var(dim=1, correction=0).cpu().numpy()
        self.pruned_ = np.zeros(len(W), dtype=bool)
        self.prune_threshold_ = np.inf

    def _prune_noise(self, random_state: np.random.RandomState) -> None:
        """Set units to zero whose variance over the features lies above the cut between noise and units."""
        self.prune_threshold_ = noise_cut(self.weight_variances_, random_state)
        self.pruned_ = self.weight_variances_ > self.prune_threshold_
        self.components_[self.pruned_] = 0
        self.constant_weights_[self.pruned_] = 0

    def _warn_of_trouble(self, X: np.ndarray, rows: np.ndarray) -> None:
        """Name each of the three troubles of a finished training on `X`, of which units saw `rows`."""
        left = ~self.pruned_
        warn_of_diverged(left & self.diverged_)
        warn_of_open(left & ~(self.converged_ | self.dead_ | self.diverged_), self.n_updates_, self.tol)
        warn_of_dead(left & self.dead_, X, rows)
