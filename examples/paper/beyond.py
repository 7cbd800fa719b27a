"""Past the paper: is the robustness real, is there a better point, does the spectrum matter, and tables."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import permutation_test, rankdata
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
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tqdm.auto import tqdm

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    RobustnessWarning,
    ThreatModel,
    WTAEncoder,
    critical_perturbations,
    paper_recipe,
)
from sklearn_brm.penalties import Adversarial, InputGradient, Jacobian

from . import measure
from .models import kh_model, mirrored, pooled
from .settings import GOALS, MODELS, TRAINING

WORST_CASE_EPS = {"cifar10": (0.0005, 0.001, 0.002), "digits": (0.005, 0.01, 0.02)}
# Images of the validation split whose critical norms judge a candidate.
N_JUDGED = 300
SEARCHED = (
    *("search_epochs", "search_batch_size", "n_search_rows", "n_validation"),
    *("n_attacked", "n_worst_case"),
)


def mixed(eps, alpha):
    """Return adversarial training together with a Jacobian penalty on the logits."""
    return [Adversarial(eps), Jacobian("logits", alpha=alpha, n_projections=1)]


# What is searched. On CIFAR-10 every candidate trains for minutes: short grids around what is known to work.
GRIDS = {
    "cifar10": {
        "logits": {"classify__alpha": (5e-5, 1e-4)},
        "gradient": {"classify__alpha": (1e-3, 1.5e-3, 7e-4)},
        "adversarial": {"classify__penalty__eps": (0.003,)},
        "mixed": {"classify__penalty": [mixed(0.003, 5e-5)]},
        "local": [
            {"encode__power": (8.0, 12.0), "classify__alpha": (1e-5, 1e-4)},
            {"encode__power": (12.0, 16.0, 14.0), "classify__alpha": (3e-6,)},
        ],
        "small_adversarial": [
            {"classify__penalty__eps": (0.0055, 0.007)},
            {"classify__penalty__eps": (0.0085,), "classify__hidden_layer_sizes": ((4000,),)},
            {"classify__penalty__eps": (0.0092,), "classify__hidden_layer_sizes": ((6000,),)},
        ],
        "mirrored_local": [
            {"encode__power": (14.0, 16.0), "classify__alpha": (3e-6,)},
            {"encode__power": (14.0,), "classify__alpha": (1e-7, 2e-7)},
        ],
    },
    "digits": {
        "logits": {"classify__alpha": (3e-5, 1e-4, 2e-4, 1e-3)},
        "gradient": {"classify__alpha": (0.01, 0.02, 0.04)},
        "adversarial": {"classify__penalty__eps": (0.02, 0.04, 0.08)},
        "mixed": {"classify__penalty": [mixed(0.02, alpha) for alpha in (3e-5, 1e-4)]},
        "local": {"encode__power": (4.5, 8.0, 12.0), "classify__alpha": (0.0, 1e-5, 1e-4)},
    },
}
TABLE_EPS, N_TABLE_ROWS, N_FOLDS = 0.3, 40, 3


def run(reproduction, results, searched):
    """Return everything that goes past the paper, computed when it is not on disk.

    The search for a better point is confined to the mechanisms `searched`.
    """
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
        past["search"] = search(reproduction, searched)
        past["chosen"] = chosen(past["search"])
        past["goals"] = reached(past["search"], settings.n_validation) if settings.data == "cifar10" else {}
    past["correlation"] = correlation(results, past)
    past["tables"] = reproduction.store.arrays("tables", lambda: tables(reproduction.verbose), depends_on=())
    return past


@dataclass(frozen=True)
class Mechanism:
    """A family of candidates.

    Attributes
    ----------
    title : str
        What readers call it.
    estimator : Pipeline
    mirrored : bool
        Whether the mirror image of every training image is learned, too.
    """

    title: str
    estimator: Pipeline
    mirrored: bool = False


def mechanisms(settings, verbose=0):
    """Return the families by their names in `MECHANISMS`."""

    def network(encode="passthrough", **options):
        classifier = paper_recipe(
            "BP",
            hidden_layer_sizes=(settings.n_units,),
            max_iter=settings.search_epochs,
            batch_size=settings.search_batch_size,
            schedule="cosine",
            random_state=settings.seed,
            verbose=verbose,
            **options,
        )
        return Pipeline([("encode", encode), ("classify", classifier)])

    grids = GRIDS[settings.data]
    adversarial = Adversarial()
    return {
        "logits": Mechanism(
            "Jacobian of the logits",
            network(penalty=Jacobian("logits", n_projections=1)),
        ),
        "gradient": Mechanism(
            "gradient of the loss",
            network(penalty=InputGradient(norm=1)),
        ),
        "adversarial": Mechanism("adversarial training, one step", network(penalty=adversarial)),
        "mixed": Mechanism(
            "adversarial training and Jacobian of the logits",
            network(penalty=grids["mixed"]["classify__penalty"][0]),
        ),
        "local": Mechanism("local learning, penalised linear classifier", local_model(settings, verbose)),
        "small_adversarial": Mechanism(
            "adversarial training, one step, on images halved in size, mirror images too",
            network(FunctionTransformer(pooled), penalty=adversarial),
            mirrored=True,
        ),
        "mirrored_local": Mechanism(
            "local learning, penalised linear classifier, mirror images too",
            local_model(settings, verbose),
            mirrored=True,
        ),
    }


def local_model(settings, verbose=0):
    """Return the winner-take-all model with everything that makes it more accurate in few epochs."""
    model = kh_model(settings, verbose, rank=5)
    return model.set_params(
        classify__penalty="l2", classify__alpha=1e-5, classify__learning_rate=3e-3,
        classify__schedule="cosine",
    )  # fmt: skip


def critical_norms(model, X, y, *, data, attack="pgd"):
    """Return the critical norm of every row, under the paper's PGD or under the worst case."""
    limit = {"n_steps": 20} if attack == "pgd" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RobustnessWarning)
        return critical_perturbations(
            model,
            X,
            y,
            attack=attack,
            max_eps=measure.LARGEST_EPS[data]["pgd"],
            threat=ThreatModel(bounds=measure.BOUNDS),
            random_state=0,
            **limit,
        ).l2_norm


def critical_norm(model, X, y, *, data, attack="pgd", n_rows=N_JUDGED):
    """Score a fitted model by the median of `critical_norms` over the first rows."""
    return measure.median_norm(critical_norms(model, X[:n_rows], y[:n_rows], data=data, attack=attack))


def search(reproduction, names):
    """Search the named mechanisms; return one entry per candidate in every column.

    Candidates are chosen by the columns of the validation split. Those of the test images are measured beside
    them, to be reported; nothing is chosen by them.
    """
    families = mechanisms(reproduction.settings, reproduction.verbose)
    grids = GRIDS[reproduction.settings.data]
    candidates = [(name, parameters) for name in names for parameters in ParameterGrid(grids[name])]
    rows = []
    for name, parameters in tqdm(candidates, disable=not reproduction.verbose, desc="Search"):
        found = reproduction.store.arrays(
            f"search-{name}",
            lambda name=name, parameters=parameters: measure_candidate(
                reproduction, families[name], parameters
            ),
            depends_on=(*SEARCHED, *(TRAINING["KH"] if name.endswith("local") else ())),
            also={"parameters": describe(parameters)},
        )
        labels = {"mechanism": name, "title": families[name].title, "parameters": describe(parameters)}
        rows.append(found | labels)
    return {column: np.array([row[column] for row in rows]) for column in rows[0]}


def measure_candidate(reproduction, family, parameters):
    """Search a grid of one candidate, so that an interrupted search goes on behind the last one."""
    settings, (X_test, y_test) = reproduction.settings, reproduction.test
    X, y = (rows[: settings.n_search_rows] for rows in reproduction.train)
    norm = partial(critical_norm, data=settings.data)
    worst = partial(norm, attack="worst_case", n_rows=settings.n_worst_case)
    scoring = {
        "accuracy": "accuracy",
        "pgd": norm,
        "exponent": partial(measure.first_exponent, settings=settings),
        "test_accuracy": lambda model, X, y: model.score(X_test, y_test),
        "test_pgd": lambda model, X, y: norm(model, X_test, y_test, n_rows=settings.n_attacked),
        "test_worst": lambda model, X, y: worst(model, X_test, y_test),
    }
    split = StratifiedShuffleSplit(1, test_size=settings.n_validation, random_state=settings.seed)
    ((train, validation),) = split.split(X, y)
    if family.mirrored:
        train = np.concatenate([train, len(X) + train])
        X, y = np.concatenate([X, mirrored(X)]), np.concatenate([y, y])
    search = GridSearchCV(
        family.estimator,
        {name: [value] for name, value in parameters.items()},
        scoring=scoring,
        cv=[(train, validation)],
        refit=False,
        error_score="raise",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = search.fit(X, y).cv_results_
    columns = {metric: results[f"mean_test_{metric}"][0] for metric in scoring}
    return columns | {"seconds": results["mean_fit_time"][0]}


def describe(parameters):
    """Write the parameters of a candidate in a few letters."""
    return ", ".join(f"{key.split('__')[-1]} {value}" for key, value in parameters.items())


def candidate(found, place):
    """Return one candidate of the search."""
    return {column: values[place] for column, values in found.items()}


def chosen(found):
    """Return the best candidate of every mechanism on the validation split.

    The best is the most robust one among those as accurate as the most accurate candidate of its mechanism
    less two points.
    """
    best = {}
    for name in dict.fromkeys(found["mechanism"].tolist()):
        places = np.flatnonzero(found["mechanism"] == name)
        close = places[found["accuracy"][places] >= found["accuracy"][places].max() - 0.02]
        best[name] = candidate(found, close[found["pgd"][close].argmax()])
    return best


def reached(found, n_validation, n_judged=N_JUDGED, goals=GOALS):
    """Return, for every goal, the candidate that most likely meets it, judged by the validation split.

    That is the one whose smaller lead over the goal, in accuracy or in critical norm, is largest when each is
    counted in its own standard errors: less than a point of accuracy, but a tenth of the norm, which comes
    from few images.
    """
    nearest = {}
    for name, goal in goals.items():
        places = np.flatnonzero(np.isin(found["mechanism"], goal.mechanisms))
        if not len(places):
            continue
        accuracy, norm = found["accuracy"][places], found["pgd"][places]
        accuracy_error = np.sqrt(goal.accuracy * (1 - goal.accuracy) / n_validation)
        # Of a median, whose logarithms scatter by about 1.
        norm_error = goal.norm * np.sqrt(np.pi / 2 / (n_judged * goal.accuracy))
        lead = np.minimum((accuracy - goal.accuracy) / accuracy_error, (norm - goal.norm) / norm_error)
        nearest[name] = candidate(found, places[lead.argmax()]) | {
            "says": goal.says,
            "goal_accuracy": goal.accuracy,
            "goal_norm": goal.norm,
        }
    return nearest


def correlation(results, past):
    """Return the rank correlation of exponent and critical norm over all models there are."""
    exponents = [measure.exponent(results[name]["spectra"], "data") for name in MODELS]
    norms = [measure.median_norm(results[name]["critical"]["pgd_norm"]) for name in MODELS]
    names = list(MODELS)
    if "search" in past:
        exponents += list(past["search"]["exponent"])
        norms += list(past["search"]["test_pgd"])
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
        "local learning, linear": [
            WTAEncoder(100, norm=3, power=4.5, random_state=0),
            RegularizedClassifier((), **settings),
        ],
        "Jacobian of the logits": [
            RegularizedClassifier((100,), penalty=Jacobian(of="logits", alpha=0.03), **settings)
        ],
        "adversarial training": [RegularizedClassifier((100,), penalty=Adversarial(TABLE_EPS), **settings)],
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
        scorer = AdversarialScorer(
            eps=TABLE_EPS,
            threat=ThreatModel(scale="std", reference_X=table.X, mutable=free, bounds=limits),
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
