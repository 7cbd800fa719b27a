"""Random honest calls keep every promise; wrong ones are refused in a sentence that names the parameter."""

import inspect
import re
import warnings
from fractions import Fraction
from functools import cache, partial
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import sklearn_brm
from sklearn_brm import (
    AdversarialScorer,
    AttackProfileDisplay,
    DecisionPlaneDisplay,
    DrivingPatchDisplay,
    NotConvertibleError,
    PatchEncoder,
    PowerLawSpectrum,
    ReceptiveFieldDisplay,
    RegularizedClassifier,
    RegularizedClassifierCV,
    RobustnessCurveDisplay,
    SharedArray,
    SmoothedClassifier,
    SpectrumDisplay,
    ThreatModel,
    TradeOffDisplay,
    WTAEncoder,
    adversarial_examples,
    certified_radii,
    certify,
    critical_perturbations,
    datasets,
    from_art,
    from_foolbox,
    paper_recipe,
    penalties,
    pipeline_spectra,
    register_converter,
    register_torch_function,
    robustness_curve,
    to_torch,
)

pytestmark = [
    pytest.mark.slow,
    # What hangs here is called again and again, to find the shortest call that does; only the end of the
    # process ends that.
    pytest.mark.timeout(300, method="thread"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn_brm.RobustnessWarning"),
    pytest.mark.filterwarnings("ignore::sklearn_brm.SpectrumWarning"),
]


def budget(n_examples):
    """Return the settings of a test with so many examples, the same ones every time and everywhere."""
    return settings(
        max_examples=n_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Honest calls.

NORMS = [np.inf, 2, 1]
EFFORT = {"n_steps": 5, "max_queries": 24, "random_state": 0}
GRADIENT_ATTACKS = ["fgsm", "pgd", "apgd", "apgd_margin", "apgd_targeted", "minimum_norm"]
OTHER_ATTACKS = ["worst_case", "black_box", "random", "gaussian", ["random", "worst_case"]]
LINEAR = make_pipeline(StandardScaler(), LogisticRegression())
MODELS = {
    "linear": LINEAR,
    "network": make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=20, random_state=0)),
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": RandomForestClassifier(3, max_depth=4, random_state=0),
    "bayes": GaussianNB(var_smoothing=1e-3),
    "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(3)),
    "kernel": SVC(),
    "our network": RegularizedClassifier((5,), max_iter=5, tol=None, random_state=0),
    "winner-take-all": make_pipeline(
        StandardScaler(),
        WTAEncoder(8, max_iter=2, random_state=0),
        RegularizedClassifier((), max_iter=5, tol=None, random_state=0),
    ),
}


def threat_options(*, norm=np.inf, **rules):
    """Return the keywords that tell functions and scorer of a threat: the only place that knows them."""
    return {"threat": ThreatModel(norm, **rules)}


@st.composite
def one_of(draw, options):
    """One of the options, by yes and no alone: hypothesis mixes numbers it finds in files into all others."""
    options = list(options)
    while len(options) > 1:
        half = -(-len(options) // 2)
        options = options[half:] if draw(st.booleans()) else options[:half]
    return options[0]


def choose(draw, *options):
    return draw(one_of(options))


@st.composite
def tables(draw, *, forms=("array", "frame", "backwards", "strided", "fortran", "read-only")):
    """Rows of columns of several scales and kinds in many forms, with labels that follow from them."""
    random = np.random.default_rng(choose(draw, *range(1000)))
    n_rows, n_classes = choose(draw, 12, 20, 30), choose(draw, 2, 3)
    kinds = ["real"]
    kinds += [choose(draw, "real", "real", "integer", "constant") for _ in range(choose(draw, 1, 2, 3, 5))]
    columns = [
        {
            "real": random.normal(size=n_rows) * 10.0 ** choose(draw, -2, 0, 2) + choose(draw, 0, 0, 30),
            "integer": random.integers(-3, 9, size=n_rows),
            "constant": np.full(n_rows, choose(draw, 0, 3)),
        }[kind]
        for kind in kinds
    ]
    group = []
    if len(kinds) < 4 and choose(draw, False, True):
        group = list(range(len(kinds), len(kinds) + 3))
        columns += list(np.eye(3)[random.integers(3, size=n_rows)].T)
    X = np.column_stack(columns).astype(choose(draw, np.float32, np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.nan_to_num((X - X.mean(axis=0)) / X.std(axis=0, dtype=float))
    score = z @ random.normal(size=X.shape[1]) + 0.2 * random.normal(size=n_rows)
    codes = np.argsort(np.argsort(score)) * n_classes // n_rows
    labels = [[3, 5, -1], ["b", "a", "c"]] + ([[True, False]] if n_classes == 2 else [])
    y = np.array(choose(draw, *labels))[codes]
    form = choose(draw, *forms)
    return SimpleNamespace(
        X=in_form(X, form), y=y, array=X, frame=form == "frame", kinds=kinds, one_hot=group, random=random
    )


def in_form(X, form):
    if form == "frame":
        return pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])], index=np.arange(len(X))[::-1])
    if form == "backwards":
        return X[::-1, ::-1].copy()[::-1, ::-1]
    if form == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    X = np.array(X, order="F" if form == "fortran" else "C")
    X.flags.writeable = form != "read-only"
    return X


@st.composite
def threats(draw, table):
    """Words for `threat_options`, and what they mean: the unit, the box, the rules, and a radius."""
    X, n = table.array.astype(float), table.array.shape[1]
    spread = X.std(axis=0) * (np.ptp(X, axis=0) > 0)
    scale = choose(draw, None, "std", "range", np.where(spread == 0, 1, spread), pd.Series)
    if scale is pd.Series:
        scale = pd.Series(np.arange(1.0, n + 1), index=table.X.columns)[::-1] if table.frame else None
    words = {"norm": choose(draw, *NORMS), "scale": scale, "reference_X": table.X}
    low, high = X.min(axis=0), X.max(axis=0)
    bounds = choose(draw, None, "data", "box", "numbers")
    words["bounds"] = {"box": (low - 0.5, high + 0.5), "numbers": (low.min(), high.max())}.get(bounds, bounds)
    unit = {"std": spread, "range": np.ptp(X, axis=0)}.get(scale) if isinstance(scale, str) else scale
    unit = np.ones(n) if unit is None else np.asarray(unit[::-1] if isinstance(unit, pd.Series) else unit)
    fixed = np.array([choose(draw, False, False, True) for _ in range(n)])
    fixed[table.one_hot] = False
    if fixed.any():
        named = np.asarray(table.X.columns)[~fixed].tolist() if table.frame else np.flatnonzero(~fixed)
        words["mutable"] = choose(draw, ~fixed, named)
    for word, chosen in {
        "integer": [i for i, kind in enumerate(table.kinds) if kind == "integer"],
        "increasing": [i for i in range(len(table.kinds)) if choose(draw, False, False, True)],
    }.items():
        if chosen and choose(draw, False, True):
            words[word] = chosen
    if table.one_hot and choose(draw, False, True):
        words["one_hot"] = [table.one_hot]
    size = np.median(spread[spread > 0]) if scale is None and spread.any() else 1.0
    return SimpleNamespace(
        words=words,
        eps=float(size * choose(draw, 0, 0.01, 0.1, 0.5, 2, 10)),
        unit=unit,
        fixed=fixed | (unit == 0),
        low=low if bounds == "data" else np.broadcast_to((words["bounds"] or (-np.inf,))[0], n),
        high=high if bounds == "data" else np.broadcast_to((words["bounds"] or (np.inf,))[-1], n),
    )


@st.composite
def tasks(draw, models=tuple(MODELS)):
    table = draw(tables())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        table.model = MODELS[choose(draw, *models)].fit(table.X, table.y)
    table.threat = draw(threats(table))
    table.options = threat_options(**table.threat.words) | EFFORT
    table.other_precision = other_precision(table.array)
    table.attack = choose(draw, *OTHER_ATTACKS, *(GRADIENT_ATTACKS if has_gradient(table.model) else []))
    return table


def has_gradient(model):
    try:
        to_torch(model)
    except NotConvertibleError:
        return False
    return True


def other_precision(X):
    """Return the other float type that holds rows, to a hundred thousandth of the spread of their columns."""
    if X.dtype == np.float32:
        return np.float64
    held = np.abs(X.astype(np.float32) - X).max(axis=0) <= 1e-5 * np.ptp(X, axis=0)
    return np.float32 if (held | (np.ptp(X, axis=0) == 0)).all() else None


def copies(task):
    """What a call might write to."""
    words = [np.array(value) for value in task.threat.words.values() if isinstance(value, np.ndarray)]
    axes = [task.X.columns.tolist(), task.X.index.tolist()] if task.frame else []
    return [np.array(task.X).tobytes(), task.y.tobytes(), axes, *(word.tobytes() for word in words)]


def assert_obeys(task, found_X, *, eps=None):
    """Check the ball, the bounds and the rules, in float64, and the form of the rows."""
    threat, words, clean = task.threat, task.threat.words, task.array
    assert type(found_X) is type(task.X)
    if task.frame:
        assert found_X.columns.equals(task.X.columns)
        assert found_X.index.equals(task.X.index)
    X = np.asarray(found_X)
    assert X.dtype == clean.dtype
    moved = X.astype(float) - clean
    if eps is not None:
        unit = np.where(threat.unit == 0, 1, threat.unit)
        length = np.linalg.norm(moved / unit, ord=words["norm"], axis=1)
        assert (length <= eps * (1 + 1e-12)).all()
    np.testing.assert_array_equal(moved[:, threat.fixed], 0)
    assert ((threat.low <= X) | (clean == X)).all()
    assert ((threat.high >= X) | (clean == X)).all()
    whole = X[:, words.get("integer", [])]
    np.testing.assert_array_equal(whole, np.round(whole))
    assert (moved[:, words.get("increasing", [])] >= 0).all()
    for group in words.get("one_hot", []):
        np.testing.assert_array_equal(np.sort(X[:, group], axis=1), np.tile([0, 0, 1], (len(X), 1)))
    return X


def assert_wrong_however_asked(task, rows, labels):
    """Check that rows are answered wrongly together, alone, in reverse and in the other precision."""
    model = task.model
    assert (model.predict(rows) != labels).all()
    assert (model.predict(rows[::-1])[::-1] != labels).all()
    if task.other_precision is not None:
        assert (model.predict(rows.astype(task.other_precision)) != labels).all()
    for i in range(len(labels)):
        assert model.predict(rows[i : i + 1])[0] != labels[i]


@budget(70)
@given(task=tasks())
def test_rows_that_come_back_keep_every_promise(task, global_state):
    def attack():
        return adversarial_examples(
            task.model, task.X, task.y, attack=task.attack, eps=task.threat.eps, **task.options
        )

    inputs, state = copies(task), global_state()
    found = attack()
    assert copies(task) == inputs
    assert global_state() == state
    X = assert_obeys(task, found.X, eps=None if task.attack == "gaussian" else task.threat.eps)
    broken = found.outcome == "broken"
    np.testing.assert_array_equal(X[~broken], task.array[~broken])
    np.testing.assert_array_equal(found.outcome == "wrong_when_clean", task.model.predict(task.X) != task.y)
    if broken.any():
        assert_wrong_however_asked(task, found.X[broken], task.y[broken])
    np.testing.assert_array_equal(found.attack != "", broken)
    np.testing.assert_array_equal(found.distance > 0, broken)
    assert found.robust_accuracy <= found.clean_accuracy
    again = attack()
    assert np.asarray(again.X).tobytes() == X.tobytes()
    np.testing.assert_array_equal(again.n_queries, found.n_queries)


@budget(25)
@given(task=tasks())
def test_radii_are_proved_by_their_rows(task, global_state):
    inputs, state = copies(task), global_state()
    max_eps = task.threat.eps or None
    found = critical_perturbations(
        task.model, task.X, task.y, attack=task.attack, max_eps=max_eps, **task.options
    )
    assert copies(task) == inputs
    assert global_state() == state
    X, broken = assert_obeys(task, found.X), found.outcome == "broken"
    np.testing.assert_array_equal(np.isfinite(found.radius), found.outcome != "standing")
    np.testing.assert_array_equal(found.radius == 0, found.outcome == "wrong_when_clean")
    if broken.any():
        assert_wrong_however_asked(task, found.X[broken], task.y[broken])
    if max_eps is not None:
        assert (found.radius[broken] <= max_eps * (1 + 1e-12)).all()
    if task.attack != "gaussian":
        unit = np.where(task.threat.unit == 0, 1, task.threat.unit)
        length = np.linalg.norm((X.astype(float) - task.array) / unit, ord=task.threat.words["norm"], axis=1)
        np.testing.assert_allclose(found.radius[broken], length[broken], rtol=1e-12)


@budget(25)
@given(task=tasks(), method=one_of(["bisect", "grid"]))
def test_a_curve_never_rises(task, method):
    grid = np.geomspace(0.01, 1, 5) * (task.threat.eps or 1.0)
    curve = robustness_curve(
        task.model, task.X, task.y, method=method, attack=task.attack, eps=grid, **task.options
    )
    assert (np.diff([curve.clean_accuracy, *curve.accuracy]) <= 0).all()
    assert np.isin(curve.radius, [0, *grid, np.inf]).all()
    for eps, accuracy in zip(grid, curve.accuracy):
        assert accuracy == pytest.approx((curve.radius > eps).mean())


@budget(15)
@given(task=tasks(models=["linear"]), attack=one_of(["apgd_margin", "minimum_norm"]))
def test_rows_broken_at_eps_have_a_radius_below(task, attack):
    # Rules without a gradient make steps along it grope.
    rules = {key: value for key, value in task.threat.words.items() if key not in ("integer", "one_hot")}
    options = threat_options(**rules) | EFFORT | {"n_steps": 20}
    eps = task.threat.eps or 1.0
    at_eps = adversarial_examples(task.model, task.X, task.y, attack=attack, eps=eps, **options)
    radii = critical_perturbations(task.model, task.X, task.y, attack=attack, **options)
    broken = at_eps.outcome == "broken"
    assert (radii.radius[broken] <= eps * 1.02).all()


@budget(30)
@given(
    table=tables(forms=["array"]),
    model=one_of(["linear", "tree", "forest", "kernel", "neighbours"]),
    attack=one_of(["worst_case", "black_box", "random"]),
    norm=one_of(NORMS),
    # Trees hold values within 1e-7 for equal, so that much smaller data are other data.
    power=one_of([-1, 1, 3, 10]),
)
def test_scaling_data_and_eps_together_changes_no_outcome(table, model, attack, norm, power):
    def outcome(factor):
        X = table.array * table.array.dtype.type(factor)
        options = threat_options(norm=norm, bounds=(X.min(axis=0), X.max(axis=0))) | EFFORT
        fitted = MODELS[model].fit(X, table.y)
        return adversarial_examples(fitted, X, table.y, attack=attack, eps=0.3 * factor, **options).outcome

    np.testing.assert_array_equal(outcome(1.0), outcome(2.0**power))


@budget(25)
@given(task=tasks(models=["linear"]), attack=one_of(["fgsm", "pgd"]))
def test_permuted_rows_have_permuted_outcomes(task, attack):
    order = task.random.permutation(len(task.y))
    X, y = (task.X.iloc[order] if task.frame else task.X[order]), task.y[order]
    options = {"attack": attack, "eps": task.threat.eps, **task.options}
    found = adversarial_examples(task.model, task.X, task.y, **options)
    permuted = adversarial_examples(task.model, X, y, **options)
    np.testing.assert_array_equal(found.outcome[order], permuted.outcome)


@budget(15)
@given(task=tasks(models=["linear", "tree"]))
def test_weights_equal_repetition(task):
    # Others draw noise for each row by its number, which would differ between copies.
    attack = ["fgsm", "pgd"] if has_gradient(task.model) else pushed
    weight = task.random.integers(0, 4, size=len(task.y))
    weight[0] = 1
    rows = np.repeat(np.arange(len(task.y)), weight)
    scorer = AdversarialScorer(task.threat.eps, attack=attack, metric="all", **task.options)
    weighted = scorer(task.model, task.X, task.y, sample_weight=weight)
    repeated = scorer(task.model, task.X.iloc[rows] if task.frame else task.X[rows], task.y[rows])
    for metric, value in repeated.items():
        # Copies of a row make nothing surer, of which the interval of repeated rows knows nothing.
        if metric.endswith(("_low", "_high")):
            continue
        rel = 0.02 if metric == "median_critical_perturbation" else 1e-12
        assert weighted[metric] == pytest.approx(value, rel=rel, nan_ok=True), metric


def pushed(estimator, X, y):
    """Attack by adding the same number everywhere."""
    return X + 1


@budget(1)
@given(task=tasks(models=["linear"]))
def test_two_jobs_give_the_scores_of_one(task):
    scorer = AdversarialScorer(task.threat.eps, attack=task.attack, metric="all", **task.options)
    one, two = (
        cross_validate(LINEAR, task.X, task.y, scoring=scorer, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2)
    )
    for name in [key for key in one if key.startswith("test_")]:
        np.testing.assert_array_equal(one[name], two[name])


# Wrong calls.

random = np.random.default_rng(0)
X = random.normal(size=(16, 3))
y = (X[:, 0] + 0.3 * random.normal(size=16) > 0).astype(int)
HOSTILE = {
    "None": lambda: None,
    "True": lambda: True,
    "a bool of NumPy": lambda: np.True_,
    "minus one": lambda: -1,
    "zero": lambda: 0,
    "one": lambda: 1,
    "a fraction": lambda: 1.5,
    "nan": lambda: np.nan,
    "inf": lambda: np.inf,
    "minus inf": lambda: -np.inf,
    "a tiny number": lambda: 1e-300,
    "an enormous number": lambda: 1e300,
    "an int beyond 64 bits": lambda: 10**30,
    "an int of NumPy": lambda: np.int64(3),
    "a float of NumPy": lambda: np.float32(0.5),
    "a Fraction": lambda: Fraction(1, 2),
    "a complex number": lambda: 1j,
    "nonsense": lambda: "nonsense",
    "an empty str": lambda: "",
    "bytes": lambda: b"x",
    "an empty list": list,
    "a list": lambda: [1],
    "a list of None": lambda: [None],
    "a list of str": lambda: ["a"],
    "a tuple": lambda: (1, 2),
    "an empty dict": dict,
    "a dict": lambda: {"a": 1},
    "a set": lambda: {1},
    "a range": lambda: range(3),
    "a generator": lambda: (i for i in range(3)),
    "an object": object,
    "a class": lambda: int,
    "a function": lambda: lambda *args, **kwargs: None,
    "an ellipsis": lambda: ...,
    "an array": lambda: np.array([1, 2]),
    "an array without dimensions": lambda: np.array(3),
    "an empty array": lambda: np.array([]),
    "a matrix": lambda: np.zeros((2, 2)),
    "an array of nan": lambda: np.full((16, 3), np.nan),
    "an array of objects": lambda: np.array([object()], dtype=object),
    "a sparse matrix": lambda: sparse.csr_matrix(np.eye(3)),
    "a Series": lambda: pd.Series([1.0, 2.0]),
    "a DataFrame": lambda: pd.DataFrame({"a": [1.0, 2.0]}),
    "a tensor": lambda: torch.tensor(2.0),
}
# What is no wrong call: work without end, 400 radii, a download, or an error of the user's own callable.
HONEST = {
    *((name, "an enormous number") for name in ("n_steps", "n_restarts", "max_queries")),
    ("eps", "None"),
    ("download_if_missing", "True"),
    ("download_if_missing", "a bool of NumPy"),
    ("project", "a class"),
    ("optimizer", "a class"),
}
# Sentences of scikit-learn's checks, and ours about parameters that do not fit together.
SENTENCES = re.compile(
    "Input (X|y|y_true) contains|Expected (2D array|a 2-dimensional|sequence)|Found (array|input variables)|"
    "could not convert|Unknown label type|1d array|not fitted yet|Seed must be|cannot be used to seed|"
    "feature names|is expecting|Sparse data was passed|Mix of label|Complex data|Singleton array|"
    "not an estimator instance|is a class, not an instance|Sample weights must|at least 1 dimension|"
    "test_size|'y_true' parameter of accuracy_score|float\\(\\) argument|is not compatible|"
    "of shape \\(n_eps, n_samples\\)|cannot be turned into a torch module|training diverged|no hidden layer|"
    "shapes of a and weights differ"
)


class Nothing(BaseEstimator):
    """Stands for an estimator that is registered."""


@cache
def fitted(name):
    """Return something fitted, or made of it, that calls need."""
    if name == "search":
        scoring = {"accuracy": "accuracy", "robust": "f1"}
        model = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, scoring=scoring, refit=False, cv=2)
        return model.fit(X, y)
    if name == "fields":
        return ReceptiveFieldDisplay.from_estimator(fitted("encoder"), image_shape=(1, 3))
    if name == "trade-off":
        return TradeOffDisplay.from_cv_results(fitted("search"))
    if name == "table":
        return pipeline_spectra(fitted("encoders"), X, random_state=0)
    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
        "encoder": WTAEncoder(**ENCODER),
        "encoders": make_pipeline(StandardScaler(), WTAEncoder(**ENCODER)),
        "patches": PatchEncoder(**PATCHES),
        "classifier": RegularizedClassifier(**CLASSIFIER),
        "spectrum": PowerLawSpectrum(),
    }
    return models[name].fit(X, y)


SMOOTHED = {"estimator": LogisticRegression(), "n_samples": 5, "n_selection": 2, "random_state": 0}
TINY = {"n_steps": 2, "max_queries": 4, "random_state": 0}
ENCODER = {"n_components": 4, "max_iter": 2, "random_state": 0}
PATCHES = {"encoder": WTAEncoder(**ENCODER), "patch_size": (1, 2), "random_state": 0}
CLASSIFIER = {"hidden_layer_sizes": (3,), "max_iter": 2, "tol": None, "random_state": 0}
SEARCH = CLASSIFIER | {"alphas": [0.1, 1.0], "cv": 2}
PENALTY_NAMES = [name for name in penalties.__all__ if name not in ("Batch", "Penalty")]
PENALTIES = ["l1", "jacobian", "spectral", "adversarial", "input_gradient", "interval", "linear_relaxation"]


def rows(*names, **words):
    """Return the arguments of these names, and others."""
    given = {"estimator": lambda: fitted("linear"), "X": lambda: X, "y": lambda: y}
    return {name: given[name]() for name in names} | words


def fit(estimator_type, **inputs):
    """Return the signature of a class, and the call that fits it with given parameters."""
    return estimator_type, lambda **words: estimator_type(**words).fit(**inputs)


def fit_under(penalty_type):
    """Return the signature of a penalty, and the call that trains under it."""

    def call(**words):
        RegularizedClassifier(**CLASSIFIER, penalty=penalty_type(**words)).fit(X, y)

    return penalty_type, call, {}


def method(make, name, *inputs):
    """Return a method of what `make` makes, the same to be called on a new one, and its inputs."""
    return getattr(make(), name), lambda **words: getattr(make(), name)(**words), rows(*inputs)


def obey(**words):
    """Attack under the rules of a threat."""
    return adversarial_examples(fitted("linear"), X, y, eps=0.3, threat=ThreatModel(**words), **TINY)


def new_encoder():
    return WTAEncoder(**ENCODER).fit(X)


def new_patches():
    return PatchEncoder(**PATCHES).fit(X)


def new_classifier():
    return RegularizedClassifier(**CLASSIFIER).fit(X, y)


def new_spectrum():
    return PowerLawSpectrum().fit(X)


def new_smoothed():
    return SmoothedClassifier(**SMOOTHED).fit(X, y)


def vote(**words):
    """Fit under noise, and answer."""
    return SmoothedClassifier(**words).fit(X, y).predict(X)


def both(call, make_words):
    """Return a function as its own signature, and as the call."""
    return call, call, make_words


# By name: a function that returns what has the signature, the call, and words that make it an honest one.
CALLS = {
    "WTAEncoder": lambda: (*fit(WTAEncoder, X=X), ENCODER),
    "RegularizedClassifier": lambda: (*fit(RegularizedClassifier, X=X, y=y), CLASSIFIER),
    "RegularizedClassifier, penalised": lambda: (
        *fit(RegularizedClassifier, X=X, y=y),
        CLASSIFIER | {"penalty": PENALTIES},
    ),
    "RegularizedClassifier, stopped early": lambda: (
        *fit(RegularizedClassifier, X=X, y=y),
        CLASSIFIER | {"early_stopping": True, "tol": 1e-4},
    ),
    "RegularizedClassifierCV": lambda: (*fit(RegularizedClassifierCV, X=X, y=y), SEARCH),
    **{name: partial(fit_under, getattr(penalties, name)) for name in PENALTY_NAMES},
    "PowerLawSpectrum": lambda: (*fit(PowerLawSpectrum, X=X), {"random_state": 0}),
    "PowerLawSpectrum, resampled": lambda: (
        *fit(PowerLawSpectrum, X=X),
        {"n_bootstrap": 2, "random_state": 0},
    ),
    "PowerLawSpectrum, repeated": lambda: (
        *fit(PowerLawSpectrum, X=X, X_repeat=X + 0.1),
        {"random_state": 0},
    ),
    "AdversarialScorer": lambda: (
        AdversarialScorer,
        lambda **words: AdversarialScorer(**words)(fitted("linear"), X, y),
        TINY,
    ),
    "ThreatModel": lambda: (ThreatModel, obey, {}),
    "ThreatModel, learned": lambda: (ThreatModel, obey, {"scale": "std", "bounds": "data", "reference_X": X}),
    "ThreatModel.from_data": lambda: both(ThreatModel.from_data, rows("X")),
    "PatchEncoder": lambda: (*fit(PatchEncoder, X=X), PATCHES),
    "PatchEncoder.fit": lambda: method(lambda: PatchEncoder(**PATCHES), "fit", "X"),
    "PatchEncoder.partial_fit": lambda: method(new_patches, "partial_fit", "X"),
    "PatchEncoder.transform": lambda: method(new_patches, "transform", "X"),
    "WTAEncoder.fit": lambda: method(lambda: WTAEncoder(**ENCODER), "fit", "X"),
    "WTAEncoder.partial_fit": lambda: method(new_encoder, "partial_fit", "X"),
    "WTAEncoder.transform": lambda: method(new_encoder, "transform", "X"),
    "RegularizedClassifier.fit": lambda: method(lambda: RegularizedClassifier(**CLASSIFIER), "fit", "X", "y"),
    "RegularizedClassifier.partial_fit": lambda: method(new_classifier, "partial_fit", "X", "y"),
    "RegularizedClassifier.predict": lambda: method(new_classifier, "predict", "X"),
    "RegularizedClassifier.hidden": lambda: method(new_classifier, "hidden", "X"),
    "RegularizedClassifier.score": lambda: method(new_classifier, "score", "X", "y"),
    "RegularizedClassifierCV.fit": lambda: method(lambda: RegularizedClassifierCV(**SEARCH), "fit", "X", "y"),
    "PowerLawSpectrum.fit": lambda: method(PowerLawSpectrum, "fit", "X"),
    "PowerLawSpectrum.partial_fit": lambda: method(new_spectrum, "partial_fit", "X"),
    "PowerLawSpectrum.transform": lambda: method(new_spectrum, "transform", "X"),
    "AdversarialScorer.score": lambda: method(
        lambda: AdversarialScorer(**TINY), "score", "estimator", "X", "y"
    ),
    "SmoothedClassifier": lambda: (SmoothedClassifier, vote, SMOOTHED),
    "SmoothedClassifier.fit": lambda: method(lambda: SmoothedClassifier(**SMOOTHED), "fit", "X", "y"),
    "SmoothedClassifier.predict": lambda: method(new_smoothed, "predict", "X"),
    "SmoothedClassifier.certified_radius": lambda: method(new_smoothed, "certified_radius", "X", "y"),
    "adversarial_examples": lambda: both(adversarial_examples, rows("estimator", "X", "y", **TINY)),
    "certify": lambda: both(certify, rows("estimator", "X", "y", eps=0.1, time_limit=0, random_state=0)),
    "certified_radii": lambda: both(certified_radii, rows("estimator", "X", "y")),
    "critical_perturbations": lambda: both(critical_perturbations, rows("estimator", "X", "y", **TINY)),
    "critical_perturbations, grid": lambda: both(
        critical_perturbations, rows("estimator", "X", "y", method="grid", eps=[0.1, 1.0], **TINY)
    ),
    "robustness_curve": lambda: both(robustness_curve, rows("estimator", "X", "y", eps=[0.1, 1.0], **TINY)),
    "robustness_curve, grid": lambda: both(
        robustness_curve, rows("estimator", "X", "y", method="grid", eps=[0.1, 1.0], **TINY)
    ),
    "pipeline_spectra": lambda: both(
        pipeline_spectra, rows("X", pipeline=fitted("encoders"), random_state=0)
    ),
    "to_torch": lambda: both(to_torch, rows("estimator")),
    "register_converter": lambda: both(register_converter, {"estimator_type": Nothing, "converter": len}),
    "register_torch_function": lambda: both(
        register_torch_function, {"function": obey, "torch_function": len}
    ),
    "paper_recipe": lambda: both(paper_recipe, {"name": "KH"}),
    "from_art": lambda: both(from_art, {"build": len}),
    "from_foolbox": lambda: both(from_foolbox, {"attack": len, "eps": 0.1, "bounds": (0, 1)}),
    "SharedArray": lambda: both(SharedArray, {"load": X.copy}),
    "fetch_mnist": lambda: both(datasets.fetch_mnist, {"path": "nowhere"}),
    "fetch_cifar10": lambda: both(datasets.fetch_cifar10, {"data_home": "nowhere"}),
    "AttackProfileDisplay": lambda: both(
        AttackProfileDisplay.from_estimator, rows("estimator", "X", "y", eps=0.5, **TINY)
    ),
    "AttackProfileDisplay.from_examples": lambda: both(
        AttackProfileDisplay.from_examples,
        {"found": adversarial_examples(fitted("linear"), X, y, eps=0.5, **TINY)},
    ),
    "DecisionPlaneDisplay": lambda: both(
        DecisionPlaneDisplay.from_estimator, rows("estimator", "X", resolution=3, random_state=0)
    ),
    "DrivingPatchDisplay": lambda: both(
        DrivingPatchDisplay.from_estimator, rows("X", estimator=fitted("patches"), n_best=2)
    ),
    "ReceptiveFieldDisplay": lambda: both(
        ReceptiveFieldDisplay.from_estimator, {"encoder": fitted("encoder"), "image_shape": (1, 3)}
    ),
    "ReceptiveFieldDisplay.plot": lambda: both(fitted("fields").plot, {}),
    "RobustnessCurveDisplay": lambda: both(
        RobustnessCurveDisplay.from_estimator, rows("estimator", "X", "y", eps=[0.1, 1.0], **TINY)
    ),
    "RobustnessCurveDisplay.from_predictions": lambda: both(
        RobustnessCurveDisplay.from_predictions,
        {"y_true": y, "y_pred": np.stack([y, y, 1 - y]), "eps": [0, 0.1, 0.2]},
    ),
    "SpectrumDisplay": lambda: both(SpectrumDisplay.from_estimator, {"estimator": fitted("spectrum")}),
    "SpectrumDisplay.from_eigenvalues": lambda: both(
        SpectrumDisplay.from_eigenvalues, {"eigenvalues": [4.0, 2.0, 1.0]}
    ),
    "SpectrumDisplay.from_table": lambda: both(
        SpectrumDisplay.from_table, {"table": fitted("table"), "step": "wtaencoder"}
    ),
    "TradeOffDisplay": lambda: both(TradeOffDisplay.from_cv_results, {"search": fitted("search")}),
    "TradeOffDisplay.plot": lambda: both(fitted("trade-off").plot, {}),
}


def offence_of(parameter, call, words):
    """Call, and return None, or in what way the call neither works nor is refused as it should be."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            call(**words)
        except OSError as error:
            return None if call in (datasets.fetch_mnist, datasets.fetch_cifar10) else repr(error)
        except Exception as error:
            good = isinstance(error, (ValueError, TypeError))
            named = re.search(rf"\b{parameter}\b", str(error)) or SENTENCES.search(str(error))
            return None if good and named else repr(error)
    # Ours have classes of our own; scikit-learn's are of many classes, and told from its files.
    other = [
        str(warning)
        for warning in told
        if not warning.category.__module__.startswith("sklearn") and "/sklearn/" not in warning.filename
    ]
    return other or None


@budget(50)
@given(data=st.data())
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_refused_by_the_name_of_its_parameter(name, data, scratch):
    signed, call, words = CALLS[name]()
    parameters = inspect.signature(signed).parameters.values()
    names = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    parameter = data.draw(one_of(names), label="parameter")
    value = data.draw(one_of(HOSTILE), label="value")
    if (parameter, value) not in HONEST:
        assert offence_of(parameter, call, words | {parameter: HOSTILE[value]()}) is None
    plt.close("all")


# What the fuzzer found, which its sample need not hold: AttributeError, KeyError, IndexError, OverflowError,
# and errors that spoke of something else.
FOUND = [
    ("RegularizedClassifier", "optimizer", "a function"),
    ("RegularizedClassifier", "schedule", "an array"),
    ("RegularizedClassifier", "learning_rate", "a Fraction"),
    ("RegularizedClassifier", "hidden_bias", "a bool of NumPy"),
    ("RegularizedClassifier", "power", "an int beyond 64 bits"),
    ("RegularizedClassifier, penalised", "power", "an enormous number"),
    ("Adversarial", "eps", "a Fraction"),
    ("RegularizedClassifier.partial_fit", "classes", "an empty list"),
    ("RegularizedClassifier.hidden", "activation", "an array"),
    ("WTAEncoder", "init", "a sparse matrix"),
    ("AdversarialScorer", "attack", "a class"),
    ("AdversarialScorer", "eps", "an enormous number"),
    ("ThreatModel", "reference_X", "a sparse matrix"),
    ("ThreatModel", "one_hot", "one"),
    ("adversarial_examples", "verbose", "an array"),
    ("critical_perturbations", "max_eps", "a Fraction"),
    ("robustness_curve", "sample_weight", "a sparse matrix"),
    ("pipeline_spectra", "white_noise", "an array"),
    ("fetch_mnist", "path", "one"),
    ("DecisionPlaneDisplay", "landscape_of", "one"),
    ("DecisionPlaneDisplay", "scale", "a sparse matrix"),
    ("RobustnessCurveDisplay", "estimator", "an empty dict"),
    ("RobustnessCurveDisplay.from_predictions", "threat", "nonsense"),
    ("SpectrumDisplay.from_eigenvalues", "window", "one"),
    ("SpectrumDisplay.from_table", "table", "a DataFrame"),
    ("TradeOffDisplay", "x", "a sparse matrix"),
]


@pytest.mark.parametrize(("name", "parameter", "value"), FOUND)
def test_what_was_found_once_stays_mended(name, parameter, value, scratch):
    _, call, words = CALLS[name]()
    assert offence_of(parameter, call, words | {parameter: HOSTILE[value]()}) is None
    plt.close("all")


def test_a_curve_display_knows_the_words_for_norms():
    options = threat_options(norm="l2") | TINY
    display = RobustnessCurveDisplay.from_estimator(fitted("linear"), X, y, eps=[0.1, 1.0], **options)
    assert "Euclidean length" in display.ax_.get_xlabel()
    plt.close("all")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Stand in an empty folder, where nothing that is asked for is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))


def test_every_public_name_is_called_wrongly():
    results = {"AdversarialExamples", "Certificates", "CriticalPerturbations", "RobustnessCurve"}
    kinds = {"NotCertifiableError", "NotConvertibleError", "RobustnessWarning", "SpectrumWarning"}
    called = {name.split(".")[0].split(",")[0] for name in CALLS}
    assert set(sklearn_brm.__all__) - results - kinds == called - set(datasets.__all__) - set(PENALTY_NAMES)
    assert set(datasets.__all__) <= called
