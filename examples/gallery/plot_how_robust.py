"""
How robust is my pipeline?
==========================

Three pipelines with nearly the same accuracy on breast cancer: which of them still stands when somebody
may move every column a little?
"""

# %%
# Three pipelines
# ---------------
# They are fitted as always. Nothing about them is special to this package.
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
models = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "network": make_pipeline(StandardScaler(), MLPClassifier((30,), max_iter=1000, random_state=0)),
    "random forest": RandomForestClassifier(20, random_state=0),
}
for name, model in models.items():
    print(f"{name:<20} accuracy {model.fit(X_train, y_train).score(X_test, y_test):.3f}")

# %%
# What an attacker may do
# -----------------------
# `ThreatModel.from_data` learns it from the training rows: columns move in standard deviations, and inside
# the range that was seen.
from sklearn_brm import ThreatModel

threat = ThreatModel.from_data(X_train)

# %%
# Who stands
# ----------
# The curves show accuracy under the worst of several attacks, with 95% bands. The forest has no gradient and
# is attacked by its splits and by queries.
import matplotlib.pyplot as plt

from sklearn_brm import RobustnessCurveDisplay

figure, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
eps = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8]
display = RobustnessCurveDisplay.from_estimator(
    models, X_test[:60], y_test[:60], eps=eps, threat=threat, random_state=0, ax=ax
)

# %%
# What has been computed is drawn again without a second attack, here with boxes of how far each row had to
# move until it was broken.
display.plot()
