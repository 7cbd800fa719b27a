"""Past the paper: is the robustness real, is there a better point, does the spectrum matter, and tables."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import permutation_test, rankdata
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from sklearn_brm import (
    AdversarialScorer,
    FeatureConstraints,
    RegularizedClassifier,
    RobustnessWarning,
    WTAEncoder,
    critical_perturbations,
    paper_recipe,
)

from . import measure
from .models import fit, kh_model, squeezed_schedule
from .settings import MODELS

WORST_CASE_EPS = {"cifar10": (0.0005, 0.001, 0.002), "digits": (0.005, 0.01, 0.02)}
# Images of the validation split, and of the test set, whose critical norms judge a candidate.
N_JUDGED = 300
TABLE_EPS, N_TABLE_ROWS, N_FOLDS = 0.3, 40, 3


def run(reproduction, results):
    """Return everything that goes past the paper, computed when it is not on disk."""
    settings = reproduction.settings
    X, y = reproduction.attacked_rows(settings.n_worst_case)
    eps = WORST_CASE_EPS[settings.data]
    past = {"worst": {}}
    for name in tqdm(MODELS, disable=not reproduction.verbose, desc="Worst case"):
        model = reproduction.model(name)
        past["worst"][name] = reproduction.result(
            "worst",
            name,
            depends_on=("n_worst_case",),
            compute=lambda model=model: measure.worst_case(model, X, y, settings, eps=eps),
        )
        past["worst"][name]["pgd_norm"] = results[name]["critical"]["pgd_norm"][: len(X)]
    if settings.search_epochs:
        past["search"] = reproduction.store.arrays(
            "search",
            lambda: search(reproduction),
            depends_on=("search_epochs", "n_search_rows", "batch_size"),
        )
        past["chosen"] = chosen_models(reproduction, past["search"])
    past["correlation"] = correlation(results, past)
    past["tables"] = reproduction.store.arrays("tables", lambda: tables(reproduction.verbose), depends_on=())
    return past


@dataclass(frozen=True)
class Mechanism:
    """A family of candidates: how it is called, an estimator, and what is searched."""

    title: str
    estimator: Pipeline
    grid: dict


def mechanisms(settings):
    """Return the families that are searched, by short name."""

    def network(**options):
        classifier = paper_recipe(
            "BP",
            hidden_layer_sizes=(settings.n_units,),
            max_iter=settings.search_epochs,
            batch_size=settings.batch_size,
            learning_rate=squeezed_schedule("BP", settings.search_epochs),
            random_state=settings.seed,
            **options,
        )
        return Pipeline([("encode", "passthrough"), ("classify", classifier)])

    eps = {"cifar10": (0.002, 0.003, 0.004), "digits": (0.02, 0.04, 0.08)}[settings.data]
    mixed = [{"adversarial": 1.0, "jacobian": strength} for strength in (3e-5, 1e-4)]
    return {
        "logits": Mechanism(
            "Jacobian of the logits",
            network(penalty="jacobian", jacobian_of="logits"),
            {"classify__alpha": [3e-5, 1e-4, 2e-4, 1e-3]},
        ),
        "adversarial": Mechanism(
            "adversarial training, one step",
            network(penalty="adversarial", alpha=1.0),
            {"classify__adversarial_eps": list(eps)},
        ),
        "mixed": Mechanism(
            "adversarial training and Jacobian of the logits",
            network(penalty=mixed[0], jacobian_of="logits", adversarial_eps=eps[0]),
            {"classify__penalty": mixed},
        ),
        "local": Mechanism(
            "local learning, penalised linear classifier",
            local_model(settings),
            {"encode__power": [4.5, 8.0, 12.0], "classify__alpha": [0.0, 1e-5, 1e-4]},
        ),
    }


def local_model(settings):
    """Return the winner-take-all model with everything that makes it more accurate in few epochs."""
    model = kh_model(settings, rank=5)
    return model.set_params(
        classify__penalty="l2", classify__alpha=1e-5, classify__learning_rate_init=3e-3,
        classify__learning_rate=squeezed_schedule("BP", settings.head_epochs),
    )  # fmt: skip


def critical_norm(model, X, y, *, data, attack="pgd", n_rows=N_JUDGED):
    """Score a fitted model by the median critical norm, under the paper's PGD or under the worst case."""
    X, y = X[:n_rows], y[:n_rows]
    limit = {"n_steps": 20} if attack == "pgd" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RobustnessWarning)
        found = critical_perturbations(
            model,
            X,
            y,
            attack=attack,
            max_eps=measure.LARGEST_EPS[data]["pgd"],
            bounds=measure.BOUNDS,
            random_state=0,
            **limit,
        )
    return measure.median_norm(found.l2_norm)


def search(reproduction):
    """Search every mechanism on a validation split; return one entry per candidate in every column."""
    settings = reproduction.settings
    X, y = (rows[: settings.n_search_rows] for rows in reproduction.train)
    split = StratifiedShuffleSplit(1, test_size=0.2, random_state=settings.seed)
    scoring = {
        "accuracy": "accuracy",
        "pgd": partial(critical_norm, data=settings.data),
        "exponent": partial(measure.first_exponent, settings=settings),
    }
    columns = {name: [] for name in ("mechanism", "parameters", "accuracy", "pgd", "exponent", "seconds")}
    families = mechanisms(settings)
    for name in tqdm(families, disable=not reproduction.verbose, desc="Search"):
        family = families[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = GridSearchCV(family.estimator, family.grid, scoring=scoring, cv=split, refit=False).fit(
                X, y
            )
        results = found.cv_results_
        columns["mechanism"] += [name] * len(results["params"])
        columns["parameters"] += [describe(parameters) for parameters in results["params"]]
        for metric in ("accuracy", "pgd", "exponent"):
            columns[metric] += list(results[f"mean_test_{metric}"])
        columns["seconds"] += list(results["mean_fit_time"])
    return columns


def describe(parameters):
    """Write the parameters of a candidate in a few letters."""
    return ", ".join(f"{key.split('__')[1]} {value}" for key, value in parameters.items())


def chosen_models(reproduction, found):
    """Train the best candidate of every mechanism on all rows and measure it on the test images.

    The best is the most robust one among those as accurate, on the validation split, as the most
    accurate candidate of its mechanism less two points.
    """
    settings = reproduction.settings
    families, chosen = mechanisms(settings), {}
    for name, family in families.items():
        places = np.flatnonzero(found["mechanism"] == name)
        close = places[found["accuracy"][places] >= found["accuracy"][places].max() - 0.02]
        best = close[found["pgd"][close].argmax()]
        rank = int(best - places[0])
        candidates = list(ParameterGrid(family.grid))
        model = clone(family.estimator).set_params(**candidates[rank])
        chosen[name] = measured_candidate(
            reproduction, name, model, depends_on=("search_epochs", "n_search_rows")
        )
        chosen[name]["title"], chosen[name]["parameters"] = family.title, str(found["parameters"][best])
    return chosen


def measured_candidate(reproduction, name, model, *, depends_on):
    """Train a model on all training images, or load it, and measure it as the five."""
    settings, (X, y) = reproduction.settings, reproduction.test

    key = f"chosen-{name}"
    trained = reproduction.store.model(
        key, lambda: fit(clone(model), *reproduction.train), depends_on=depends_on
    )

    def numbers():
        n = settings.n_worst_case
        return {
            "accuracy": trained.score(X, y),
            "pgd": critical_norm(trained, X, y, data=settings.data, n_rows=settings.n_attacked),
            "worst": critical_norm(trained, X, y, data=settings.data, attack="worst_case", n_rows=n),
            "exponent": measure.first_exponent(trained, X, settings=settings),
        }

    found = reproduction.store.arrays(key, numbers, depends_on=(*depends_on, "n_attacked", "n_worst_case"))
    seconds = reproduction.store.seconds(key, depends_on=depends_on)
    return dict(found) | dict(seconds)


def correlation(results, past):
    """Return the rank correlation of exponent and critical norm over all models there are."""
    exponents = [measure.exponent(results[name]["spectra"], "data") for name in MODELS]
    norms = [measure.median_norm(results[name]["critical"]["pgd_norm"]) for name in MODELS]
    names = list(MODELS)
    if "search" in past:
        exponents += list(past["search"]["exponent"])
        norms += list(past["search"]["pgd"])
        names += [f"{m}: {p}" for m, p in zip(past["search"]["mechanism"], past["search"]["parameters"])]
    steepness = rank_correlation(exponents, norms)
    nearness = rank_correlation(np.abs(np.array(exponents) - 1), norms)
    return {
        "names": np.array(names),
        "exponents": np.array(exponents),
        "norms": np.array(norms),
        "rho": steepness.statistic,
        "p_value": steepness.pvalue,
        "rho_distance_from_1": nearness.statistic,
        "p_value_distance_from_1": nearness.pvalue,
    }


def rank_correlation(x, y):
    """Return Spearman's correlation with the p-value of permutations, which holds for five models, too."""
    ranks = rankdata(y)
    return permutation_test(
        (rankdata(x),),
        lambda x: np.corrcoef(x, ranks)[0, 1],
        permutation_type="pairings",
        vectorized=False,
        random_state=0,
    )


@dataclass(frozen=True)
class Table:
    """A table with what an attacker may change: `fixed` columns stay, the others stay within their range."""

    X: np.ndarray
    y: np.ndarray
    fixed: tuple
    says: str


def real_tables():
    """Return four tables that ship with scikit-learn."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    diabetes = Table(
        X, (y > np.median(y)).astype(int), (0, 1), "progression above the median; age and sex fixed"
    )
    others = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
    return {name: Table(*load(return_X_y=True), (), "all columns") for name, load in others.items()} | {
        "diabetes": diabetes
    }


def table_models():
    """Return the contestants on tables: ours, and what people use."""
    settings = {"max_iter": 300, "random_state": 0, "tol": None}
    contestants = {
        "local learning, linear": [WTAEncoder(100, random_state=0), RegularizedClassifier((), **settings)],
        "Jacobian of the logits": [
            RegularizedClassifier((100,), penalty="jacobian", jacobian_of="logits", alpha=0.03, **settings)
        ],
        "adversarial training": [
            RegularizedClassifier((100,), penalty="adversarial", adversarial_eps=TABLE_EPS, **settings)
        ],
        "LogisticRegression": [LogisticRegression(max_iter=1000)],
        "MLPClassifier": [MLPClassifier(max_iter=2000, random_state=0)],
        "RandomForest": [RandomForestClassifier(random_state=0)],
        "HistGradientBoosting": [HistGradientBoostingClassifier(random_state=0)],
    }
    return {name: make_pipeline(StandardScaler(), *steps) for name, steps in contestants.items()}


def tables(verbose):
    """Return accuracy and worst-case accuracy of every contestant on every table, one entry per pair."""
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    columns = {name: [] for name in ("table", "says", "model", "accuracy", "robust")}
    pairs = [(name, model) for name in real_tables() for model in table_models()]
    data, models = real_tables(), table_models()
    for name, model in tqdm(pairs, disable=not verbose, desc="Tables"):
        table = data[name]
        free = [i for i in range(table.X.shape[1]) if i not in table.fixed]
        limits = table.X.min(axis=0), table.X.max(axis=0)
        constraints = FeatureConstraints(mutable=free, bounds=limits)
        scorer = AdversarialScorer(
            eps=TABLE_EPS,
            scale="std",
            reference_X=table.X,
            constraints=constraints,
            max_samples=N_TABLE_ROWS,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = cross_validate(
                models[model], table.X, table.y, cv=folds, scoring={"accuracy": "accuracy", "robust": scorer}
            )
        row = (name, table.says, model, found["test_accuracy"].mean(), found["test_robust"].mean())
        for column, value in zip(columns.values(), row):
            column.append(value)
    return columns
