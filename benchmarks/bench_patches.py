"""What a pass of images through PatchEncoder costs beside its bare products.

    python benchmarks/bench_patches.py

Random images of 32 x 32 pixels and three colours, patches of 6 x 6, 1,600 units of local learning. The bare
products are those of 729 patches per image with all units, a few images at a time, written into memory that
is there.
"""

import numpy as np
import torch
from _common import median_times, write_table

from sklearn_brm import PatchEncoder, WTAEncoder

_N_IMAGES, _N_UNITS, _N_PLACES, _N_PIXELS = 64, 1600, 27 * 27, 6 * 6 * 3


def products(dtype, at_a_time):
    """Return a callable that multiplies as many patches as the images have."""
    patches = torch.randn(at_a_time * _N_PLACES, _N_PIXELS).to(dtype)
    weights = torch.randn(_N_PIXELS, _N_UNITS).to(dtype)
    out = torch.empty(len(patches), _N_UNITS, dtype=dtype)

    def run():
        for _ in range(_N_IMAGES // at_a_time):
            torch.mm(patches, weights, out=out)

    return run


def main():
    images = np.random.default_rng(0).random((_N_IMAGES, 3072), dtype=np.float32)
    encoder = WTAEncoder(_N_UNITS, norm=2, max_iter=0)
    layer = PatchEncoder(encoder, patch_size=6, n_patches=20_000, random_state=0).fit(images)
    rows = []
    for precision, dtype, at_a_time in (("float32", torch.float32, 2), ("bfloat16", torch.bfloat16, 4)):
        layer.set_params(precision=precision)
        found = median_times(
            {"products": products(dtype, at_a_time), "pass": lambda: layer.transform(images)}, n_rounds=15
        )
        per_image = {name: 1000 * seconds / _N_IMAGES for name, seconds in found.items()}
        rows.append(
            [
                precision,
                f"{per_image['products']:.2f}",
                f"{per_image['pass']:.2f}",
                f"{found['pass'] / found['products']:.2f}",
                f"{50 * per_image['pass']:.0f}",
            ]
        )
    header = ["precision", "products [ms/image]", "pass [ms/image]", "ratio", "50,000 images [s]"]
    write_table("patches", "PatchEncoder: a pass and its bare products, 1,600 units", header, rows)


if __name__ == "__main__":
    main()
