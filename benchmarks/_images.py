"""The networks that `bench_images.py` compares: layers that learn from patches, and a head on their maps."""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import StandardScaler

from sklearn_brm import PatchEncoder, RegularizedClassifier, WTAEncoder


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


def networks(image_shape):
    """Return by the name of a row its title and its layers; none are the bare pixels.

    A tuple of names in the place of layers are the features of these rows side by side.
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
    title = "local learning, 200 units, 4 x 4 cells"
    found["grid_200"] = title, one_layer(WTAEncoder(200, norm=2), image_shape, grid=4)
    found["soft_3"] = "soft rule, three layers", soft_layers(image_shape)
    found["random_3"] = "Gaussian filters, no learning, three layers", soft_layers(image_shape, updates=0)
    found["both"] = "three soft layers beside one of 1,600 units", ("soft_3", "local_1600")
    return found


class Head:
    """A linear classifier on standardised features, whose strength is chosen on the last rows.

    Parameters
    ----------
    alphas : tuple of float
        Strengths of the L2 penalty, in units of standardised features.
    epochs : int
    n_validation : int
        Rows set aside to choose the strength, at most a fifth of all; the chosen classifier then learns from
        all rows.
    learning_rate : float
    """

    def __init__(self, alphas, *, epochs, n_validation=5000, learning_rate=1e-3):
        self.alphas = alphas
        self.epochs = epochs
        self.n_validation = n_validation
        self.learning_rate = learning_rate

    def measure(self, parts, y, test_parts, y_test):
        """Return a dict of the accuracy on the test rows, the strength and how it was chosen.

        `parts` and `test_parts` are lists of features that stand side by side.
        """
        F, F_test = standardized(parts, test_parts)
        n = len(F) - min(self.n_validation, len(F) // 5)
        validation = {}
        for alpha in self.alphas if len(self.alphas) > 1 else ():
            validation[alpha] = float(self._fitted(alpha, F[:n], y[:n]).score(F[n:], y[n:]))
        alpha = max(validation, key=validation.get, default=self.alphas[0])
        model = self._fitted(alpha, F, y)
        return {
            "accuracy": float(model.score(F_test, y_test)),
            "training_accuracy": float(model.score(F[:n], y[:n])),
            "alpha": alpha,
            "validation": validation,
            "n_features": F.shape[1],
        }

    def _fitted(self, alpha, F, y):
        return RegularizedClassifier(
            (),
            penalty="l2",
            alpha=alpha,
            standardize=False,
            learning_rate=self.learning_rate,
            schedule="cosine",
            batch_size=200,
            max_iter=self.epochs,
            tol=None,
            random_state=0,
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
