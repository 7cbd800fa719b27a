"""
A grid search with a trade-off
==============================

`GridSearchCV` scores accuracy and robust accuracy on the same folds; the picture shows what is traded, and
which candidates no other beats in both.
"""

# %%
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    RegularizedClassifierCV,
    ThreatModel,
    TradeOffDisplay,
)
from sklearn_brm.penalties import Jacobian

X, y = load_breast_cancer(return_X_y=True)
network = RegularizedClassifier(
    (50,), penalty=Jacobian(of="logits"), max_iter=100, tol=None, learning_rate=0.01, random_state=0
)
robust = AdversarialScorer(
    0.3, threat=ThreatModel.from_data(X), max_samples=50, n_steps=10, max_queries=20, random_state=0
)
search = GridSearchCV(
    make_pipeline(StandardScaler(), network),
    {"regularizedclassifier__alpha": [1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]},
    scoring={"accuracy": "accuracy", "robust": robust},
    refit="robust",
    cv=2,
).fit(X, y)
TradeOffDisplay.from_cv_results(search, color_by="alpha")

# %%
# `refit` decides. Here it is the most robust candidate; a callable could take the most robust of those that
# lose little accuracy.
print(search.best_params_)

# %%
# Where the strength of one penalty is all that is searched, `RegularizedClassifierCV` does so in a fraction
# of the time: the networks of a fold learn side by side. It stands inside of the pipeline, so that its scorer
# sees scaled columns, and the picture comes from it as from any search.
scoring = {"accuracy": "accuracy", "robust": AdversarialScorer(0.3, max_samples=50, random_state=0)}
searching = RegularizedClassifierCV(
    (50,),
    penalty=Jacobian(of="logits"),
    alphas=[1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0],
    scoring=scoring,
    refit="robust",
    cv=2,
    random_state=0,
)
model = make_pipeline(StandardScaler(), searching).fit(X, y)
TradeOffDisplay.from_cv_results(searching, color_by="alpha")
