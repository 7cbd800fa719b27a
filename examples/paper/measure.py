"""What the report says about a trained model: accuracy, critical norms, spectra, planes."""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_brm import (
    DecisionPlaneDisplay,
    PowerLawSpectrum,
    RobustnessWarning,
    ThreatModel,
    adversarial_examples,
    critical_perturbations,
    pipeline_spectra,
)

from .models import learned_units
from .settings import ATTACKS

BOUNDS = (0, 1)
# Up to where perturbations grow. On digits, whose few pixels are larger after the division by the 3-norm,
# farther than in the paper.
LARGEST_EPS = {
    "cifar10": {"gaussian": 8.0, "fgsm": 10**-1.5, "pgd": 10**-1.5},
    "digits": {"gaussian": 8.0, "fgsm": 1.0, "pgd": 1.0},
    "mnist": {"pgd": 1.0},
}
N_RADII, SMALLEST_EPS = 400, 1e-6
WIDTHS = (10, 50, 100, 500, 1000, 1500)
# First and last rank of the fits, on images and on white noise.
WINDOWS = {"cifar10": ((10, 500), (10, 100)), "digits": ((5, 40), (5, 40))}


def accuracies(model, train, test):
    """Return the shares of right answers."""
    return {"train_accuracy": model.score(*train), "accuracy": model.score(*test)}


def critical_norms(model, X, y, settings, verbose=0, attacks=tuple(ATTACKS)):
    """Return radius and Euclidean norm of the smallest perturbation of every row, by attack of the paper.

    Random noise and FGSM climb the 400 radii of the paper. PGD does where `settings.grid` asks for it, and
    otherwise closes in by bisection, which finds the same medians to a percent in a fiftieth of the time.
    """
    found = {}
    for attack in attacks:
        is_grid = settings.grid or attack != "pgd"
        largest = LARGEST_EPS[settings.data][attack]
        radii = {"eps": np.geomspace(SMALLEST_EPS, largest, N_RADII)}
        limit = radii if is_grid else {"max_eps": largest, "n_steps": 20}
        result = critical_perturbations(
            model,
            X,
            y,
            attack=attack,
            method="grid" if is_grid else "bisect",
            threat=ThreatModel(bounds=None if attack == "gaussian" else BOUNDS),
            random_state=settings.seed,
            verbose=verbose,
            **limit,
        )
        found[f"{attack}_radius"], found[f"{attack}_norm"] = result.radius, result.l2_norm
    return found


def median_norm(norms):
    """Return the median over the rows that are right when clean."""
    right = norms > 0
    return float(np.median(norms[right])) if right.any() else np.nan


def curve(radii, eps):
    """Return the share of the rows that are right when clean and stand at each eps."""
    right = radii > 0
    return (radii[right][:, None] > eps).mean(axis=0)


def spectra(model, X, settings, widths=WIDTHS):
    """Return eigenvalues and exponents of the first layer's pre-activations at several widths."""
    window, noise_window = WINDOWS[settings.data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = pipeline_spectra(
            model,
            X,
            widths=list(widths),
            window=window,
            noise_window=noise_window,
            random_state=settings.seed,
        )
    found = {}
    for layer, source, width, exponent, intercept, values in zip(
        *(table[column] for column in ("layer", "source", "width", "exponent", "intercept", "eigenvalues"))
    ):
        if layer not in ("input", "pre-activation"):
            continue
        key = f"{'noise' if source == 'white noise' else 'data'}-{layer}-{width}"
        found |= {f"{key}-eigenvalues": values, f"{key}-fit": np.array([exponent, intercept])}
    return found


def spectra_of(found, source, layer="pre-activation"):
    """Return width -> (eigenvalues, exponent, intercept), by rising width."""
    prefix = f"{source}-{layer}-"
    widths = sorted({int(key.split("-")[-2]) for key in found if key.startswith(prefix)})
    return {
        width: (found[f"{prefix}{width}-eigenvalues"], *map(float, found[f"{prefix}{width}-fit"]))
        for width in widths
    }


def exponent(found, source, layer="pre-activation"):
    """Return the exponent at full width."""
    spectrum = spectra_of(found, source, layer)
    return spectrum[max(spectrum)][1] if spectrum else np.nan


def first_exponent(model, X, y=None, *, settings):
    """Score a model by the exponent of the first layer's pre-activations at full width."""
    window, _ = WINDOWS[settings.data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = pipeline_spectra(model, X, window=window, white_noise=False)
    return table["exponent"][table["layer"].index("pre-activation")]


def plane(model, X, settings):
    """Return what the model answers on a random plane through a test image, and how steep it is there."""
    import matplotlib.pyplot as plt

    display = DecisionPlaneDisplay.from_estimator(
        model,
        X,
        index=0,
        directions="random",
        resolution=settings.resolution,
        random_state=settings.seed,
        device="cpu",
    )
    plt.close(display.figure_)
    names = ("coordinates", "regions", "classes", "confidence", "jacobian_norm")
    return {name: getattr(display, name) for name in names}


def units(model, X, X_test, settings):
    """Return what the winner-take-all layer learned, and its spectrum before and after pruning."""
    encoder = learned_units(model)
    pruned = clone(encoder).set_params(init=encoder.components_, max_iter=0, prune="mixture", verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pruned.fit(X[: 10 * encoder.batch_size])
    names = ("components_", "weight_variances_", "dead_", "converged_")
    found = {name: getattr(encoder, name) for name in names}
    found |= {"pruned_": pruned.pruned_, "prune_threshold_": pruned.prune_threshold_}
    window, _ = WINDOWS[settings.data]
    kept = {"raw": ~np.zeros_like(pruned.pruned_), "pruned": ~pruned.pruned_}
    overlaps = clone(encoder).set_params(init=encoder.components_, max_iter=0, power=None, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (ConvergenceWarning, UserWarning))
        overlaps = overlaps.fit(X[:100]).transform(X_test)
        for name, columns in kept.items():
            fit = PowerLawSpectrum(window=window).fit(overlaps[:, columns])
            found |= {f"{name}_eigenvalues": fit.eigenvalues_, f"{name}_exponent": fit.exponent_}
    return found


def worst_case(model, X, y, settings, *, eps):
    """Return critical norms under the worst case and under the paper's PGD, on the same rows.

    Also accuracies under the worst case at each of `eps`, which attack broke how many rows, and everything
    that the scorer warned about.
    """
    common = {"threat": ThreatModel(bounds=BOUNDS), "random_state": settings.seed}
    found, said = {}, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RobustnessWarning)
        result = critical_perturbations(model, X, y, max_eps=LARGEST_EPS[settings.data]["pgd"], **common)
        found["norm"], found["radius"], found["attack"] = result.l2_norm, result.radius, result.attack
        for value in eps:
            examples = adversarial_examples(model, X, y, eps=value, **common)
            found[f"accuracy-{value:g}"] = examples.robust_accuracy
        said = sorted({str(warning.message) for warning in caught})
    return found | {"warnings": np.array(said, dtype=str)}
