"""
Teach the bridge a step
=======================

A gradient attack needs the gradient through every step. A step that is not known is attacked as a black box,
which is weaker; a converter of a few lines makes it known.
"""

# %%
# A step that nobody knows
# ------------------------
# It squashes outliers, column by column.
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import NotConvertibleError, to_torch


class Squash(TransformerMixin, BaseEstimator):
    """Map each column to (-1, 1), most steeply at its mean."""

    def fit(self, X, y=None):
        self.mean_, self.width_ = X.mean(axis=0), X.std(axis=0)
        return self

    def transform(self, X):
        return (X - self.mean_) / (self.width_ + abs(X - self.mean_))


X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(Squash(), StandardScaler(), LogisticRegression()).fit(X_train, y_train)
try:
    to_torch(model)
except NotConvertibleError as error:
    print(error)

# %%
# Before
# ------
from sklearn_brm import ThreatModel, robustness_curve

threat = ThreatModel.from_data(X_train)
options = {"eps": np.linspace(0.05, 0.6, 8), "threat": threat, "random_state": 0, "max_queries": 100}
rows = X_test[:60], y_test[:60]
before = robustness_curve(model, *rows, **options)

# %%
# A layer and a converter
# -----------------------
# `Monotone` says that each column is mapped on its own by a function that never turns back. That gives the
# gradient, and bounds for certificates.
from sklearn_brm import register_converter
from sklearn_brm.functional.layers import Monotone, Rescale, sequence


class SoftSign(Monotone):
    """x / (width + |x|)."""

    def forward(self, X):
        return X / (self.width + X.abs())


def convert_squash(squash, target):
    return sequence(Rescale(target.tensor(squash.mean_), None), SoftSign(width=target.tensor(squash.width_)))


register_converter(Squash, convert_squash)
print(to_torch(model))

# %%
# After
# -----
# The same model, the same rows, the same rules: the gradient finds what queries missed.
import matplotlib.pyplot as plt

after = robustness_curve(model, *rows, **options)
figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
ax.plot(before.eps, before.accuracy, marker="o", label="as a black box, 100 queries")
ax.plot(after.eps, after.accuracy, marker="o", label="with a converter")
ax.set(xlabel="eps in standard deviations", ylabel="accuracy under attack", ylim=(0, 1.02))
ax.legend()
