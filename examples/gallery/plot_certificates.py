"""
Attacks from above, proofs from below
=====================================

An attack that fails proves nothing. Bounds say what no attack can break; where both meet, the figure is
exact. The gap between them is what nobody knows.
"""

# %%
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import RegularizedClassifier, RobustnessCurveDisplay, ThreatModel
from sklearn_brm.penalties import Interval

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
settings = {"hidden_layer_sizes": (50, 50), "max_iter": 100, "tol": None, "random_state": 0}
models = {
    "plain": RegularizedClassifier(**settings),
    "interval": RegularizedClassifier(penalty=Interval(0.3), **settings),
}
models = {name: make_pipeline(StandardScaler(), model) for name, model in models.items()}
for model in models.values():
    model.fit(X_train, y_train)

# %%
# The dashed lines are proven, the full ones are what the attacks left, and the hatched area between them is
# unknown. Training for what can be proven makes it small.
RobustnessCurveDisplay.from_estimator(
    models,
    X_test[:60],
    y_test[:60],
    eps=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5],
    threat=ThreatModel.from_data(X_train),
    certify=True,
    random_state=0,
)

# %%
# `certify` searches what bounds leave open, and decides small networks exactly.
from sklearn_brm import certify

threat = ThreatModel.from_data(X_train)
for name, model in models.items():
    proven = certify(model, X_test[:60], y_test[:60], eps=0.2, threat=threat, time_limit=0.1, random_state=0)
    print(f"{name:<9} proven {proven.certified_accuracy:.2f}, exact answers {proven.complete.mean():.0%}")
