"""Is a deep network of local learning more robust than the same network trained by back-propagation?

    python benchmarks/bench_depth.py --output depth

One, two and three layers on CIFAR-10: the soft rule, no learning at all, and back-propagation through the
very same layers, from Gaussian weights, without augmentation: at its best, and stopped where its accuracy is
that of local learning. Accuracy, median critical norms under the paper's PGD and under the worst case, and
the exponent of the spectrum of the features. Each network is trained and attacked once and kept in the output
folder, so that the same command goes on where it was interrupted. Needs the image archives.
"""

import argparse
import json
import pickle
import time
import warnings
from functools import partial
from pathlib import Path

import _images
import numpy as np
from _common import load_cifar10, write_table
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklearn_brm import (
    PowerLawSpectrum,
    RegularizedClassifier,
    ThreatModel,
    critical_perturbations,
)

_LAYERS = (
    _images.SoftLayer(48, 5, 1.0, 1.0, "max", 4, 0.08, 100_000, 500),
    _images.SoftLayer(96, 3, 0.65, 1.0, "max", 4, 0.005, 100_000, 500),
    _images.SoftLayer(192, 3, 0.25, 1.0, "mean", 2, 0.01, 50_000, 250),
)
_N_TRAIN, _N_TEST = 10_000, 2_000
_LARGEST_EPS = 10**-1.5
_WINDOW = (10, 200)


def network(n_layers, updates):
    """Return an untrained pipeline: layers, their maps pooled into 4 x 4 cells, and a linear head."""
    layers = _images.soft_layers((32, 32, 3), _LAYERS[:n_layers], updates=updates)
    _images.in_float32(layers, norm_one=updates == 0)
    layers[-1].set_params(grid=4)
    head = RegularizedClassifier(
        (), penalty="l2", alpha=1e-3, schedule="cosine", max_iter=40, tol=None, random_state=0
    )
    return Pipeline([*((f"layer_{i}", layer) for i, layer in enumerate(layers)), ("head", head)])


def backpropagated(pipeline, X, y, test, *, epochs, equal_to):
    """Return two copies of a fitted pipeline, trained on by back-propagation: its filters and its head.

    The first is as it was where its accuracy on the test rows reached `equal_to`, looked at eight times in an
    epoch, or None where it never did; the second is that of the end.
    """
    network, equal = _images.Backpropagation(pipeline, device="cpu"), None
    for _ in network.steps(X, y, epochs=epochs, batch_size=50, reports_per_epoch=8):
        if equal is None and network.accuracy(*test) >= equal_to:
            equal = _written_back(pipeline, network)
    return equal, _written_back(pipeline, network)


def _written_back(pipeline, network):
    copied = pickle.loads(pickle.dumps(pipeline))
    for (_, step), layer in zip(copied.steps, network.filters):
        step.encoder_.components_ = layer.weight.detach().T.contiguous().numpy().copy()
    copied[-1].coefs_ = [network.head.weight.detach().numpy().copy()]
    copied[-1].intercepts_ = [network.head.bias.detach().numpy().copy()]
    return copied


def trained(folder, name, make):
    """Return a pipeline from the folder, or make it; beside it the processor's seconds it took."""
    path = folder / f"{name}.pkl"
    if not path.exists():
        start = time.process_time()
        content = make(), time.process_time() - start
        path.write_bytes(pickle.dumps(content))
    return pickle.loads(path.read_bytes())


def measured(folder, name, pipeline, test, n_attacked, n_worst):
    """Return the figures of a network, from the folder or by attack."""
    path = folder / f"{name}.json"
    if not path.exists():
        X, y = test
        features = pipeline[:-1].transform(X)
        spectrum = PowerLawSpectrum(_WINDOW).fit(features)
        found = {"accuracy": float(pipeline.score(X, y)), "exponent": float(spectrum.exponent_)}
        for attack, n_rows in (("pgd", n_attacked), ("worst_case", n_worst)):
            norms = critical_perturbations(
                pipeline,
                X[:n_rows],
                y[:n_rows],
                attack=attack,
                max_eps=_LARGEST_EPS,
                n_steps=20,
                threat=ThreatModel(bounds=(0, 1)),
                random_state=0,
                batch_size=100,
            ).l2_norm
            # The paper counts rows that are right when clean.
            found[attack] = float(np.median(norms[norms > 0]))
        path.write_text(json.dumps(found))
    return json.loads(path.read_text())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("report") / "depth")
    parser.add_argument("--attacked", type=int, default=100, help="test images under PGD")
    parser.add_argument("--worst-case", type=int, default=40, help="test images under the worst case")
    parser.add_argument("--epochs", type=int, default=10, help="of back-propagation")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=5000, help="of local learning, per layer")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    X, y = load_cifar10("train", _N_TRAIN)
    test = load_cifar10("test", _N_TEST)
    rows = []
    for n_layers in options.layers:
        for title, pipeline, seconds in networks_of(options, n_layers, X, y, test):
            name = f"{title.split(',')[0].replace(' ', '_')}_{n_layers}"
            found = measured(options.output, name, pipeline, test, options.attacked, options.worst_case)
            print(n_layers, title, found, f"{seconds:.0f} s", flush=True)
            rows.append(
                [
                    n_layers,
                    title,
                    f"{found['accuracy']:.3f}",
                    f"{found['pgd']:.3f}",
                    f"{found['worst_case']:.3f}",
                    f"{found['exponent']:.2f}",
                    f"{seconds:.0f}",
                ]
            )
    header = ["layers", "filters", "accuracy", "PGD", "worst case", "exponent", "training [s]"]
    units = ", ".join(str(layer.n_units) for layer in _LAYERS)
    notes = [
        f"Trained on {_N_TRAIN:,} images, accuracy on {_N_TEST:,}. Median Euclidean critical norm of those",
        f"right when clean among {options.attacked} test images under PGD, {options.worst_case} under the",
        f"worst case; pixels lie in [0, 1]. Exponent of the spectrum of the last features, ranks {_WINDOW}.",
        f"Layers of {units} units with plain rectifiers, {options.updates:,} updates each of local learning;",
        f"back-propagation for {options.epochs} epochs without augmentation.",
    ]
    title = "Robustness of depth: local learning against back-propagation"
    write_table("images_depth", title, header, rows, notes=notes)


def networks_of(options, n_layers, X, y, test):
    """Yield the title, the pipeline and the seconds of training of each network of a depth."""
    keep = partial(trained, options.output)
    random, seconds = keep(f"random_{n_layers}", lambda: clone(network(n_layers, 0)).fit(X, y))
    yield "random, no learning", random, seconds
    local, seconds = keep(f"local_{n_layers}", lambda: network(n_layers, options.updates).fit(X, y))
    yield "local learning", local, seconds
    train = partial(backpropagated, random, X, y, test, epochs=options.epochs, equal_to=local.score(*test))
    (equal, best), seconds = keep(f"backpropagated_{n_layers}", train)
    if equal is not None:
        yield "equal, back-propagation at the accuracy of local learning", equal, seconds
    yield "best, back-propagation at its end", best, seconds


if __name__ == "__main__":
    main()
