"""Speed and memory of WTAEncoder, against bare matrix products and against the dense form of its rule.

Run from the root of the repository with ``python benchmarks/bench_encoder.py [--scale 0.1]``; everything
is measured turn by turn in one process, medians are printed and written to
``benchmarks/results/encoder_*.md``, a table for each kind of processor.
"""

import argparse
import statistics
import subprocess
import sys
from functools import partial

import numpy as np
import torch
from _common import have_images, load_cifar10, median_times, processor, write_table

from sklearn_brm import WTAEncoder
from sklearn_brm._device import product_dtype
from sklearn_brm._encoder._feeds import RowFeed
from sklearn_brm._encoder._learning import Learner
from sklearn_brm.functional.plasticity import (
    PlasticLayer,
    Rule,
    minibatch_step,
    power_weights,
    scale_to_radius,
)

N_FEATURES, N_UNITS, NORM, DELTA = 3072, 2000, 3.0, 0.4
N_ROWS = {1000: 10_000, 100: 2_000}
MEMORY_PROBE = """
import sys
import numpy as np
from sklearn_brm import WTAEncoder

def kibibytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

X = np.random.default_rng(0).standard_normal((int(sys.argv[1]), int(sys.argv[2])), dtype=np.float32)
encoder = WTAEncoder(int(sys.argv[3]), max_iter=2, batch_size=1000, device="cpu", random_state=0)
WTAEncoder(10, max_iter=1).fit(X[:50])
before = kibibytes("VmRSS")
with open("/proc/self/clear_refs", "w") as control:
    control.write("5")
encoder.fit(X)
print(1024 * (kibibytes("VmHWM") - before))
"""


def dense_step(W, X, rate):
    """Do one update as published: both products dense, the weights raised to their power anew each time."""
    h = X @ (W.sign() * W.abs() ** (NORM - 1)).T
    ranking = h.argsort(dim=1)
    rows = torch.arange(len(X))
    g = torch.zeros(len(X), len(W))
    g[rows, ranking[:, -1]] = 1.0
    g[rows, ranking[:, -2]] = -DELTA
    change = g.T @ X - (g * h).sum(dim=0)[:, None] * W
    W += rate * change / change.abs().max().clamp(min=1e-30)


def dense_epoch(W, X, batch_size):
    for batch in X.split(batch_size):
        dense_step(W, batch, 1e-3)


def product_epoch(A, X, batch_size):
    for batch in X.split(batch_size):
        batch @ A.T


def make_learner(W, batch_size, precision=None):
    layer = PlasticLayer(W.clone(), NORM, product_dtype=precision)
    return Learner(layer, Rule(), step=minibatch_step, rate=lambda update: 1e-3, batch_size=batch_size)


def training_contestants(X, batch_size):
    """Return callables that run one epoch each; only ours gather and scale their rows."""
    tensor = torch.from_numpy(X)
    W = scale_to_radius(tensor[np.random.default_rng(0).permutation(len(X))[:N_UNITS]], NORM, 1.0)
    A = power_weights(W, NORM)
    scaled = scale_to_radius(tensor.clone(), NORM, 1.0)
    feed = RowFeed(X, device=torch.device("cpu"), dtype=torch.float32, norm=NORM)
    order = np.random.default_rng(1).permutation(len(X))
    W_dense = W.clone()
    contestants = {
        "bare products": lambda: product_epoch(A, scaled, batch_size),
        "WTAEncoder": partial(make_learner(W, batch_size).learn, feed, order),
    }
    # Where the processor would emulate it, the encoder stays with float32.
    short = product_dtype("bfloat16", "cpu")
    if short is not None:
        contestants["WTAEncoder, bfloat16"] = partial(make_learner(W, batch_size, short).learn, feed, order)
    return contestants | {"dense form": lambda: dense_epoch(W_dense, scaled, batch_size)}


def training_rows(X, scale, n_rounds):
    """Yield the lines of the table on one epoch, for both batch sizes."""
    targets = {1000: ("1.2", "3"), 100: ("1.5", "8")}
    for batch_size, n_rows in N_ROWS.items():
        n_rows = max(int(n_rows * scale), batch_size, N_UNITS)
        seconds = median_times(training_contestants(X[:n_rows], batch_size), n_rounds=n_rounds)
        bare, dense = seconds["bare products"], seconds["dense form"]
        for name, value in seconds.items():
            asked = dict.fromkeys(seconds, ("", "")) | {"WTAEncoder": targets[batch_size]}
            at_most, at_least = asked[name]
            yield [
                f"epoch of {n_rows} rows, batch {batch_size}",
                name,
                f"{value:.3f}",
                f"{value / bare:.2f}" + (f" (asked: at most {at_most})" if at_most else ""),
                f"{dense / value:.1f}" + (f" (asked: at least {at_least})" if at_least else ""),
            ]


def transform_rows(X, scale, n_rounds):
    X = X[: max(int(5000 * scale), N_UNITS)]
    encoder = WTAEncoder(N_UNITS, max_iter=0, device="cpu", random_state=0).fit(X)
    A, tensor = power_weights(torch.from_numpy(encoder.components_), NORM), torch.from_numpy(X)
    seconds = median_times(
        {
            "bare product and activation": lambda: (tensor @ A.T).relu_().pow_(4.5),
            "WTAEncoder.transform": lambda: encoder.transform(X),
        },
        n_rounds=n_rounds,
    )
    bare = seconds["bare product and activation"]
    for name, value in seconds.items():
        asked = " (asked: at most 1.1)" if name.startswith("WTA") else ""
        yield [f"transform of {len(X)} rows", name, f"{value:.3f}", f"{value / bare:.2f}{asked}", ""]


def memory_row():
    """Return the line on the peak memory of `fit` beyond X, the median over five processes."""
    sizes = 6000, N_FEATURES, N_UNITS
    command = [sys.executable, "-c", MEMORY_PROBE, *map(str, sizes)]
    probes = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(5)]
    peak, components, activations = (
        statistics.median(map(int, probes)),
        4 * N_UNITS * N_FEATURES,
        4 * 1000 * N_UNITS,
    )
    allowed = 3 * components + 4 * activations
    return [
        "peak memory of fit beyond X, batch 1000",
        "WTAEncoder",
        f"{peak / 1e6:.0f} MB",
        f"{peak / components:.2f} components_ (asked: at most {allowed / components:.2f})",
        "",
    ]


def cuda_rows(X):
    """Yield the lines on a CUDA device: one epoch against the products, and the time of 1000 epochs."""
    device = torch.device("cuda")
    feed = RowFeed(X, device=device, dtype=torch.float32, norm=NORM)
    W = scale_to_radius(feed.take(np.arange(N_UNITS)), NORM, 1.0)
    learner, A = make_learner(W, 1000), power_weights(W, NORM)
    order = np.random.default_rng(1).permutation(len(X))

    def waiting(run):
        run()
        torch.cuda.synchronize()

    def products():
        for batch in feed.batches(order, 1000):
            batch @ A.T

    seconds = median_times(
        {
            "bare products": lambda: waiting(products),
            "WTAEncoder": lambda: waiting(lambda: learner.learn(feed, order)),
        }
    )
    for name, value in seconds.items():
        ratio = value / seconds["bare products"]
        yield [
            f"epoch of {len(X)} rows on {torch.cuda.get_device_name()}",
            name,
            f"{value:.4f}",
            f"{ratio:.2f}" + (" (asked: at most 1.5)" if name == "WTAEncoder" else ""),
            f"1000 epochs: {1000 * value:.0f} s",
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows to use")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n_rows = 50_000 if torch.cuda.is_available() else max(N_ROWS.values())
    if have_images():
        X, source = load_cifar10("train", n_rows)[0], "CIFAR-10"
    else:
        X, source = np.random.default_rng(0).random((n_rows, N_FEATURES), dtype=np.float32), "random"
    rows = [
        *training_rows(X, options.scale, options.rounds),
        *transform_rows(X, options.scale, options.rounds),
    ]
    rows.append(memory_row())
    if torch.cuda.is_available():
        rows += cuda_rows(X)
    sets = [name for name in ("amx_bf16", "avx512f", "avx2") if name in processor()]
    write_table(
        f"encoder_{sets[0] if sets else 'other'}",
        f"WTAEncoder: speed and memory ({source} rows, {N_FEATURES} features, {N_UNITS} units)",
        ["task", "what", "median seconds", "times the bare products", "times faster than the dense form"],
        rows,
        notes=[] if torch.cuda.is_available() else ["No CUDA device was at hand."],
    )


if __name__ == "__main__":
    main()
