"""
A certificate for anything that predicts
========================================

`SmoothedClassifier` votes over noisy copies of a row. The clearer the vote, the farther the row may move
before another class can win, whatever the classifier inside. Here it is a forest.
"""

# %%
import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from sklearn_brm import SmoothedClassifier

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
forest = RandomForestClassifier(10, random_state=0)

# %%
# More noise certifies larger radii, of fewer rows.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
radii = np.linspace(0, 2, 81)
for sigma in (0.25, 0.5, 1.0):
    smoothed = SmoothedClassifier(forest, sigma=sigma, n_samples=500, random_state=0).fit(X_train, y_train)
    proven = smoothed.certified_radius(X_test, y_test)
    ax.step(radii, [(proven > radius).mean() for radius in radii], where="post", label=f"sigma = {sigma}")
ax.set(
    xlabel="Euclidean radius in standard deviations", ylabel="share of rows right and proven", ylim=(0, 1.02)
)
ax.legend()
