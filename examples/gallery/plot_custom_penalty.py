"""
A penalty of your own
=====================

A penalty is a class with a strength and a value. This one keeps the units of the first layer orthogonal and
of length one, and is searched, cloned and pickled as those of the package are.
"""

# %%
import torch

from sklearn_brm.penalties import Penalty


class Orthogonality(Penalty):
    """Squared distance of the units' Gram matrix from the identity."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def needs(self, network):
        return "weights"

    def value(self, batch):
        W = batch.weights[0]
        return (W.T @ W - torch.eye(W.shape[1], dtype=W.dtype, device=W.device)).square().sum()


# %%
# With and without it
# -------------------
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_brm import RegularizedClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
settings = {"hidden_layer_sizes": (20,), "max_iter": 100, "tol": None, "random_state": 0}
plain = RegularizedClassifier(**settings).fit(X_train, y_train)
orthogonal = RegularizedClassifier(penalty=Orthogonality(), **settings).fit(X_train, y_train)

# %%
# The pictures show the cosine of the angle between every two units: what they have in common.
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(ncols=2, figsize=(8, 3.6), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, {"no penalty": plain, "orthogonality": orthogonal}.items()):
    W = model.coefs_[0] / np.linalg.norm(model.coefs_[0], axis=0)
    image = ax.imshow(W.T @ W, vmin=-1, vmax=1, cmap="RdBu_r")
    ax.set(title=f"{name}: accuracy {model.score(X_test, y_test):.3f}", xlabel="unit")
    ax.set(xticks=range(0, 20, 5), yticks=range(0, 20, 5))
axes[0].set_ylabel("unit")
figure.colorbar(image, ax=axes, label="cosine")

# %%
# What each penalty contributed to the loss is in ``penalties_``.
print({name: round(float(curve[-1]), 4) for name, curve in orthogonal.penalties_.items()})
