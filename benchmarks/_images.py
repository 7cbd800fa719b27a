"""The networks that `bench_images.py` compares: layers that learn from patches."""

from dataclasses import dataclass

from sklearn.cluster import MiniBatchKMeans

from sklearn_brm import PatchEncoder, WTAEncoder

# Inverse temperature, power of the activation and rate of the three layers of SoftHebb (Journé et al. 2023).
_SOFT = ((96, 5, 1.0, 1.0, 0.08), (384, 3, 0.65, 1.4, 0.005), (1536, 3, 0.25, 1.0, 0.01))
_POWERS = (0.7, 1.4, 1.0)


@dataclass(frozen=True)
class Row:
    """A network of the table.

    Parameters
    ----------
    title : str
    layers : list of PatchEncoder
        Each learns from the maps of the one before.
    """

    title: str
    layers: list


def one_layer(encoder, image_shape, **options):
    """The network of Coates, Lee and Ng (2011) around any encoder: whitened patches, triangle, quadrants."""
    settings = {"patch_size": 6, "precision": "bfloat16", "random_state": 0} | options
    return [PatchEncoder(encoder, image_shape=image_shape, **settings)]


def soft_layers(image_shape, *, learn=True, n_patches=(400_000, 200_000, 100_000), updates=5000):
    """The three layers of SoftHebb, or the weights that they start from."""
    layers, shape = [], image_shape
    for i, (n_units, size, sharpness, _, rate) in enumerate(_SOFT):
        batch_size = (1000, 500, 250)[i]
        encoder = WTAEncoder(
            n_units,
            norm=2,
            rule="soft",
            inverse_temperature=sharpness,
            normalize=False,
            init="normal",
            learning_rate=rate,
            schedule="constant",
            batch_size=batch_size,
            max_iter=-(-updates * batch_size // n_patches[i]) if learn else 0,
            n_iter_no_change=None,
            precision="bfloat16",
        )
        layers.append(
            PatchEncoder(
                encoder,
                image_shape=shape,
                patch_size=size,
                padding="same",
                n_patches=n_patches[i],
                standardize=True,
                contrast=None,
                whitening=None,
                power=_POWERS[i],
                pooling="max" if i < 2 else "mean",
                pool_size=4 if i < 2 else 2,
                pool_stride=2,
                grid=None,
                precision="bfloat16",
                output_dtype="float16",
                random_state=i,
            )
        )
        shape = shape[0] // 2, shape[1] // 2, n_units
    return layers


def first_layers(image_shape):
    """By the name of a row, one layer of each kind."""
    units = {400: "400 units", 1600: "1,600 units"}
    rows = {}
    for n, words in units.items():
        rows[f"local_{n}"] = Row(f"local learning, {words}", one_layer(WTAEncoder(n, norm=2), image_shape))
        rows[f"rows_{n}"] = Row(
            f"patches of the data, no learning, {words}",
            one_layer(WTAEncoder(n, norm=2, max_iter=0), image_shape),
        )
        rows[f"gaussian_{n}"] = Row(
            f"Gaussian filters, no learning, {words}",
            one_layer(WTAEncoder(n, norm=2, init="normal", max_iter=0), image_shape),
        )
        kmeans = MiniBatchKMeans(n, batch_size=4096, n_init=1)
        rows[f"kmeans_{n}"] = Row(f"k-means, {words}", one_layer(kmeans, image_shape))
    return rows
