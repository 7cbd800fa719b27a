"""
An attack of your own
=====================

An attack is a function and a label. It gets the estimator as a torch module, the balls to stay in and the
classes, and returns points. What it returns is put back into the ball and asked of the estimator itself, so
that a mistake in an attack cannot make a model look worse than it is.
"""

# %%
# One column only
# ---------------
# This one spends everything on the single column that promises most.
import torch

from sklearn_brm.attacks import Attack, Found, margin


def best_column(context, ball, y, trial):
    x = ball.centre.clone().requires_grad_()
    (slope,) = torch.autograd.grad(margin(context.model(x), y).sum(), x)
    gain = ball.unit_to_raw(slope).abs()
    one = torch.where(gain == gain.amax(dim=1, keepdim=True), slope, 0)
    return Found.points(ball, ball.furthest(one))


# %%
# Beside the others
# -----------------
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import ThreatModel, robustness_curve

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
threat = ThreatModel.from_data(X_train)
eps = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]
attacks = {
    "one column": Attack("one column", best_column),
    "random": "random",
    "fgsm": "fgsm",
    "worst case": "worst_case",
}
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name, attack in attacks.items():
    curve = robustness_curve(model, X_test, y_test, eps=eps, threat=threat, attack=attack, random_state=0)
    ax.plot(curve.eps, curve.accuracy, marker="o", label=name)
ax.set(xlabel="eps in standard deviations", ylabel="accuracy under attack", ylim=(0, 1.02))
ax.legend()

# %%
# Given in a list, an attack only makes the worst case worse: ``attack=["worst_case", Attack("mine", mine)]``.
