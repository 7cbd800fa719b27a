"""The networks that `bench_images.py` compares: layers that learn from patches, and a head on their maps."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import PatchEncoder, RegularizedClassifier, WTAEncoder, to_torch
from sklearn_brm.functional.convolutions import PerPatch
from sklearn_brm.functional.layers import Affine


@dataclass(frozen=True)
class SoftLayer:
    """A layer of SoftHebb (Journé et al., ICLR 2023, table of settings): units, patch, and how they learn."""

    n_units: int
    patch_size: int
    inverse_temperature: float
    power: float
    pooling: str
    pool_size: int
    learning_rate: float
    n_patches: int
    batch_size: int


SOFTHEBB = (
    SoftLayer(96, 5, 1.0, 0.7, "max", 4, 0.08, 400_000, 1000),
    SoftLayer(384, 3, 0.65, 1.4, "max", 4, 0.005, 200_000, 500),
    SoftLayer(1536, 3, 0.25, 1.0, "mean", 2, 0.01, 100_000, 250),
)


def one_layer(encoder, image_shape, **options):
    """The network of Coates, Lee and Ng (2011) around any encoder: whitened patches, triangle, quadrants."""
    settings = {"patch_size": 6, "precision": "bfloat16", "random_state": 0} | options
    return [PatchEncoder(encoder, image_shape=image_shape, **settings)]


def soft_layers(image_shape, settings=SOFTHEBB, *, updates=5000, rule="soft", **options):
    """Layers on standardised maps, as SoftHebb has them, after so many updates each; 0 learns nothing."""
    layers, shape = [], image_shape
    for seed, layer in enumerate(settings):
        encoder = WTAEncoder(
            layer.n_units,
            norm=2,
            rule=rule,
            inverse_temperature=layer.inverse_temperature,
            normalize=False,
            init="normal",
            learning_rate=layer.learning_rate,
            schedule="constant",
            batch_size=layer.batch_size,
            max_iter=-(-updates * layer.batch_size // layer.n_patches),
            n_iter_no_change=None,
            precision="bfloat16",
        )
        layers.append(
            PatchEncoder(
                encoder.set_params(**options),
                image_shape=shape,
                patch_size=layer.patch_size,
                padding="same",
                n_patches=layer.n_patches,
                standardize=True,
                contrast=None,
                whitening=None,
                power=layer.power,
                pooling=layer.pooling,
                pool_size=layer.pool_size,
                pool_stride=2,
                grid=None,
                precision="bfloat16",
                output_dtype="float16",
                random_state=seed,
            )
        )
        shape = shape[0] // 2, shape[1] // 2, layer.n_units
    return layers


def in_float32(layers, *, norm_one):
    """Set soft layers to float32, which attacks and gradients need; return them.

    `norm_one` lets their Gaussian weights, which start at 25 times the radius, have norm one: these suit
    back-propagation.
    """
    for layer in layers:
        if norm_one:
            layer.encoder.set_params(radius=0.04)
        layer.set_params(precision="float32", output_dtype="float32")
    return layers


def networks(image_shape):
    """Return by the name of a row its title and its layers; none are the bare pixels.

    A tuple of names in the place of layers are the features of these rows side by side, and None is
    back-propagation in the network of the three soft layers.
    """
    found = {"pixels": ("raw pixels", [])}
    for n in (400, 1600):
        encoders = {
            "local": ("local learning", WTAEncoder(n, norm=2, precision="bfloat16")),
            "rows": ("patches of the data, no learning", WTAEncoder(n, norm=2, max_iter=0)),
            "gaussian": ("Gaussian filters, no learning", WTAEncoder(n, norm=2, init="normal", max_iter=0)),
            "kmeans": ("k-means", MiniBatchKMeans(n, batch_size=4096, n_init=1)),
        }
        for name, (title, encoder) in encoders.items():
            found[f"{name}_{n}"] = f"{title}, {n:,} units", one_layer(encoder, image_shape)
    for n in (200, 400):
        title = f"local learning, {n} units, 4 x 4 cells"
        found[f"grid_{n}"] = title, one_layer(WTAEncoder(n, norm=2), image_shape, grid=4)
    encoder = WTAEncoder(4000, norm=2, precision="bfloat16")
    found["local_4000"] = "local learning, 4,000 units", one_layer(encoder, image_shape)
    encoder = WTAEncoder(1600, norm=2, precision="bfloat16")
    title = "local learning, 1,600 units, 4 x 4 cells"
    found["grid_1600"] = title, one_layer(encoder, image_shape, grid=4)
    found["soft_3"] = "soft rule, three layers", soft_layers(image_shape)
    found["random_3"] = "Gaussian filters, no learning, three layers", soft_layers(image_shape, updates=0)
    found["both"] = "three soft layers beside one of 1,600 units", ("soft_3", "local_1600")
    parts = "soft_3", "local_4000"
    found["wide"] = "three soft layers beside one of 4,000 units", parts
    found["wide_mirrored"] = "the same, head learns mirror images too", parts
    found["backpropagation_3"] = "back-propagation, three layers, mirror images at random", None
    return found


class Backpropagation:
    """The filters and the head of a fitted pipeline of patch layers, trained on together, without penalty.

    Parameters
    ----------
    pipeline : Pipeline
        Layers of `PatchEncoder`, then a linear classifier.
    device : str
    learning_rate : float
        Of Adam; it falls in a line to zero.

    Attributes
    ----------
    filters : list of modules
        One for each layer, whose `weight` learns.
    head : module
        With `weight` and `bias`.
    """

    def __init__(self, pipeline, *, device, learning_rate=1e-3):
        self.device = device
        self.learning_rate = learning_rate
        self.module = to_torch(pipeline, dtype=torch.float32).to(device)
        self.filters = [layer.layer for layer in self.module if isinstance(layer, PerPatch)]
        self.head = next(layer for layer in self.module if isinstance(layer, Affine))
        trained = [*((layer, "weight") for layer in self.filters), (self.head, "weight"), (self.head, "bias")]
        for layer, name in trained:
            layer.register_parameter(name, torch.nn.Parameter(layer._buffers.pop(name)))

    def steps(self, X, y, *, epochs, batch_size, reports_per_epoch=1, mirror=None):
        """Train, and yield so many times in an epoch.

        `mirror` exchanges left and right of rows; it is applied to each row of a batch with probability 1/2.
        """
        rate = self.learning_rate
        optimizer = torch.optim.Adam(self.module.parameters(), lr=rate)
        generator = torch.Generator().manual_seed(0)
        X, y = (torch.as_tensor(array).to(self.device) for array in (X, y))
        per_epoch = len(X) // batch_size
        n_steps = epochs * per_epoch
        for step in range(n_steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(X), generator=generator).to(self.device)
            part = order[step % per_epoch * batch_size :][:batch_size]
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / n_steps)
            rows = X[part]
            if mirror is not None:
                is_mirrored = torch.rand(len(rows), generator=generator).to(self.device) < 0.5
                rows = torch.where(is_mirrored[:, None], mirror(rows), rows)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.module(rows), y[part]).backward()
            optimizer.step()
            with torch.no_grad():
                for layer in self.filters:
                    # What the units have in common is taken from their answers: it is nothing to learn.
                    layer.weight -= layer.weight.mean(dim=1, keepdim=True)
            if step % (per_epoch // reports_per_epoch) == 0:
                yield step

    @torch.no_grad()
    def accuracy(self, X, y):
        """Return the share of right answers."""
        answers = [self.module(part.to(self.device)).argmax(dim=1) for part in torch.as_tensor(X).split(250)]
        return float((torch.cat(answers).cpu() == torch.as_tensor(y)).float().mean())


def backpropagation_result(image_shape, train, test, *, epochs=20):
    """Return what a row of the table says of back-propagation in the network of the three soft layers.

    Filters are Gaussian to begin with, rectifiers are plain (a power below 1 has no slope at 0), and half of
    the rows of each batch are mirrored.
    """
    layers = in_float32(soft_layers(image_shape, updates=0), norm_one=True)
    for layer in layers:
        layer.set_params(power=1.0)
    head = RegularizedClassifier((), penalty="l2", max_iter=20, random_state=0)
    pipeline = Pipeline([*((f"layer_{i}", layer) for i, layer in enumerate(layers)), ("head", head)])
    X, y = train
    pipeline.fit(X[:2000], y[:2000])
    network = Backpropagation(pipeline, device="cuda" if torch.cuda.is_available() else "cpu")
    for _ in network.steps(X, y, epochs=epochs, batch_size=100, mirror=partial(mirrored, shape=image_shape)):
        pass
    return {
        "accuracy": network.accuracy(*test),
        "training_accuracy": network.accuracy(X[:5000], y[:5000]),
        "alpha": 0.0,
        "n_features": network.head.weight.shape[0],
        "learn": [],
        "map": [],
    }


def mirrored(X, shape):
    """Return images in rows with left and right exchanged; arrays of NumPy and of torch."""
    return X[:, np.arange(X.shape[1]).reshape(shape)[:, ::-1].ravel()]


class Head:
    """A linear classifier on standardised features, whose strength is chosen on the last rows.

    It goes to the optimum of the cross-entropy under an L2 penalty, by L-BFGS.

    Parameters
    ----------
    alphas : tuple of float
        Strengths of the L2 penalty, in units of standardised features.
    max_iter : int
        Of the solver.
    n_validation : int
        Rows set aside to choose the strength, at most a fifth of all; the chosen classifier then learns from
        all rows.
    n_choosing : int
        Of the other rows, how many the strengths are tried on: choosing shall not take longer than learning.
        The best strength falls with the rows that are learned, in inverse proportion, and so does the chosen.
    """

    def __init__(self, alphas, *, max_iter=300, n_validation=5000, n_choosing=20_000):
        self.alphas = alphas
        self.max_iter = max_iter
        self.n_validation = n_validation
        self.n_choosing = n_choosing

    def measure(self, parts, y, test_parts, y_test):
        """Return a dict of the accuracy on the test rows, the strength and how it was chosen.

        `parts` and `test_parts` are lists of features that stand side by side. Where there are more rows than
        labels, they are the mirror images of the first, in the same order.
        """
        F, F_test = standardized(parts, test_parts)
        n = len(y) - min(self.n_validation, len(y) // 5)
        n_copies = len(F) // len(y)
        n_choosing = min(n, self.n_choosing)
        choosing = np.concatenate([np.arange(n_choosing) + i * len(y) for i in range(n_copies)])
        labels = np.tile(y, n_copies)
        validation = {}
        if len(self.alphas) > 1:
            train = F[:n_choosing] if n_copies == 1 else F[choosing]
            for alpha in self.alphas:
                model = self._fitted(alpha, train, labels[choosing])
                validation[alpha] = float(model.score(F[n : len(y)], y[n:]))
            del train
            alpha = max(validation, key=validation.get) * n_choosing / len(y)
        else:
            (alpha,) = self.alphas
        model = self._fitted(alpha, F, labels)
        return {
            "accuracy": float(model.score(F_test, y_test)),
            "training_accuracy": float(model.score(F[:n], y[:n])),
            "alpha": alpha,
            "validation": validation,
            "n_features": F.shape[1],
        }

    def _fitted(self, alpha, F, y):
        return RegularizedClassifier(
            (), penalty="l2", alpha=alpha, standardize=False, max_iter=self.max_iter, random_state=0
        ).fit(F, y)


def standardized(parts, test_parts, n_rows=5000):
    """Return the features of all parts side by side, centred and scaled by the first, in float32."""
    n_columns = sum(part.shape[1] for part in parts)
    results = [np.empty((len(each[0]), n_columns), dtype=np.float32) for each in (parts, test_parts)]
    start = 0
    for pair in zip(parts, test_parts):
        columns = slice(start, start + pair[0].shape[1])
        scaler = StandardScaler()
        for first in range(0, len(pair[0]), n_rows):
            scaler.partial_fit(pair[0][first : first + n_rows].astype(np.float32))
        for result, part in zip(results, pair):
            for first in range(0, len(part), n_rows):
                rows = slice(first, first + n_rows)
                result[rows, columns] = scaler.transform(part[rows].astype(np.float32))
        start = columns.stop
    return results
