"""Reproduce the tables and figures of Holzhausen et al. (2025), and go past them, with the public estimators.

Trains the five models (local learning KH, perceptrons BP, L2, JReg and SpecReg), attacks them as the paper
does, measures their spectra and the planes around an image, and writes a folder with the figures 1, 2, 3, 4,
A1 and A2, `results.json`, `results.csv`, one page, `report.html`, and on CIFAR-10 `numbers.md`: each number
of the paper beside ours, how near it shall be, and whether it is. Interrupted and called again, it goes on
from what is done, inside a model from its last checkpoint, and ends with the same bits. Two processes may
train different models into one folder with `--only train --models`.

    python examples/reproduce_paper.py                                         # digits, in minutes
    python examples/reproduce_paper.py --preset laptop --data folder/of/cifar  # CIFAR-10, within an hour
    python examples/reproduce_paper.py --preset paper --data folder/of/cifar   # everything, for a GPU
"""

import argparse
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

from paper import beyond, figures, measure, numbers, page, variants
from paper.models import TITLE, fit, initial_perceptron, load_images, make_model
from paper.settings import ATTACKED, MECHANISMS, MODELS, PRESETS, TRAINING
from paper.store import Store
from tqdm.auto import tqdm


class Reproduction:
    """One run: the data, the folder, and every result, computed when first asked for."""

    def __init__(self, settings, folder, path=None, verbose=1, checkpoint_minutes=5.0):
        self.settings, self.verbose = settings, verbose
        self.store = Store(folder / "work", settings, checkpoint_minutes)
        self.folder = folder
        X_train, y_train, X_test, y_test = load_images(settings.data, path)
        self.train, self.test = (X_train, y_train), (X_test, y_test)

    def model(self, name):
        """Return a trained model."""
        return self.store.model(
            name,
            lambda: fit(make_model(name, self.settings, self.verbose), *self.train),
            depends_on=TRAINING[name],
        )

    def initial(self):
        """Return the perceptron before training."""
        return self.store.model(
            "initial", lambda: initial_perceptron(self.settings, *self.train), depends_on=()
        )

    def result(self, kind, name, *, depends_on, compute):
        """Return a result on a model, from disk if it is there."""
        return self.store.arrays(f"{kind}-{name}", compute, depends_on=(*TRAINING.get(name, ()), *depends_on))

    def attacked_rows(self, n):
        """Return the first test images and their labels."""
        X, y = self.test
        return X[:n], y[:n]

    def run(self):
        """Train and measure everything; return the results by model."""
        results = {}
        tasks = tqdm(MODELS, disable=not self.verbose, desc="Models")
        for name in tasks:
            tasks.set_postfix_str(name)
            results[name] = self.measure(name)
        initial = self.initial()
        results["BP at initialisation"] = {
            "spectra": self.result(
                "spectra",
                "initial",
                depends_on=(),
                compute=lambda: measure.spectra(initial, self.test[0], self.settings),
            )
        }
        return results

    def measure(self, name):
        """Return what the paper reports on one model."""
        model, settings = self.model(name), self.settings
        X, y = self.attacked_rows(settings.n_attacked)
        found = {
            "accuracy": self.result(
                "accuracy",
                name,
                depends_on=(),
                compute=lambda: measure.accuracies(model, self.train, self.test),
            ),
            "critical": self.result(
                "critical",
                name,
                depends_on=ATTACKED,
                compute=lambda: measure.critical_norms(model, X, y, settings, self.verbose),
            ),
            "spectra": self.result(
                "spectra", name, depends_on=(), compute=lambda: measure.spectra(model, self.test[0], settings)
            ),
            "plane": self.result(
                "plane", name, depends_on=("resolution",), compute=lambda: measure.plane(model, X, settings)
            ),
            "seconds": self.store.seconds(name, depends_on=TRAINING[name]),
        }
        if name == "KH":
            found["units"] = self.result(
                "units",
                name,
                depends_on=(),
                compute=lambda: measure.units(model, self.train[0], self.test[0], settings),
            )
        return found


def at_least_one(text):
    """Read a number of the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Got {text} instead.")
    return int(text)


def at_least_zero(text):
    """Read a number of the command line that may be 0."""
    return 0 if int(text) == 0 else at_least_one(text)


def minutes(text):
    """Read a time of the command line, of 0 minutes or more."""
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more. Got {text} instead.")
    return float(text)


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument(
        "--data", metavar="PATH", help="file or folder with CIFAR-10; else scikit-learn's cache"
    )
    parser.add_argument("--output", type=Path, default=Path("report"))
    parser.add_argument("--epochs", type=at_least_one, help="epochs of the perceptrons")
    parser.add_argument(
        "--spectral-epochs", type=at_least_one, help="epochs of SpecReg, which takes longest; else --epochs"
    )
    parser.add_argument("--batch-size", type=at_least_one, help="rows per update of BP, L2 and JReg")
    parser.add_argument("--encoder-epochs", type=at_least_one, help="epochs of local learning")
    parser.add_argument("--units", type=at_least_one, help="hidden units of every model")
    parser.add_argument("--attacked", type=at_least_one, help="test images under the attacks of the paper")
    parser.add_argument("--worst-case", type=at_least_one, help="test images under the worst case")
    parser.add_argument(
        "--search-epochs", type=at_least_zero, help="epochs per candidate of the search; 0 leaves it out"
    )
    parser.add_argument("--seed", type=at_least_zero)
    parser.add_argument(
        "--only",
        choices=["train", "paper", "search", "table"],
        help="stop after training, stop before going past the paper, run nothing but the search, or nothing "
        "but write the table of numbers anew, from the results.json that is there",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="results.json of runs with other settings, or files of bench_paper_variants.py: where a number "
        "is missed, the table says which of them came nearer",
    )
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=MODELS, help="with --only train: which models"
    )
    parser.add_argument(
        "--mechanisms", nargs="+", choices=MECHANISMS, help="what to search among; else all there is"
    )
    parser.add_argument(
        "--checkpoint-minutes",
        type=minutes,
        default=5.0,
        metavar="N",
        help="how often a model in training saves where it is; 5 if not given, and after every epoch with 0",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def chosen_settings(options):
    """Return the preset with what the command line replaces."""
    changes = {
        "epochs": options.epochs,
        "spectral_epochs": options.spectral_epochs or options.epochs,
        "batch_size": options.batch_size,
        "encoder_epochs": options.encoder_epochs,
        "n_units": options.units,
        "n_attacked": options.attacked,
        "n_worst_case": options.worst_case,
        "search_epochs": options.search_epochs,
        "seed": options.seed,
    }
    return replace(PRESETS[options.preset], **{key: v for key, v in changes.items() if v is not None})


def main(arguments=None):
    options = parse(arguments)
    try:
        beside = [variants.read(path) for path in options.beside]
        if options.only == "table":
            numbers.write(numbers.read(options.output / "results.json"), options.output, beside)
            return
    except (ValueError, OSError) as error:
        sys.exit(f"The table of numbers cannot be written. {error}")
    settings = chosen_settings(options)
    if options.only == "search" and not settings.search_epochs:
        sys.exit(f"The preset {options.preset} leaves the search out: give --search-epochs of 1 or more.")
    searched = options.mechanisms or tuple(beyond.GRIDS[settings.data])
    if missing := set(searched).difference(beyond.GRIDS[settings.data]):
        sys.exit(f"{TITLE[settings.data]} has no search among the mechanisms {', '.join(sorted(missing))}.")
    try:
        reproduction = Reproduction(
            settings,
            options.output,
            options.data,
            verbose=int(not options.quiet),
            checkpoint_minutes=options.checkpoint_minutes,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"The images of --preset {options.preset} could not be loaded. {error}")
    print(f"{TITLE[settings.data]}, preset {options.preset}: {asdict(settings)}", flush=True)
    if options.only == "train":
        for name in options.models:
            reproduction.model(name)
        return
    if options.only == "search":
        beyond.search(reproduction, searched)
        return
    results = reproduction.run()
    past = {} if options.only == "paper" else beyond.run(reproduction, results, searched)
    figures.draw_all(results, past, reproduction)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "examples/reproduce_paper.py", *given])
    page.write(results, past, reproduction, options.preset, command, beside)
    print(f"\nReport: {(options.output / 'report.html').resolve()}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from what is done.")
