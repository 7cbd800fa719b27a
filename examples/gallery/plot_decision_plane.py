"""
Decision regions, and where a model is steep
============================================

A plane through typical rows of three classes, cut out of 13 dimensions: on the left what the model answers
there, on the right how steeply its scores change. Regularising the Jacobian makes the second picture flat.
"""

# %%
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import DecisionPlaneDisplay, RegularizedClassifier
from sklearn_brm.penalties import Jacobian

X, y = load_wine(return_X_y=True)
settings = {"hidden_layer_sizes": (50,), "max_iter": 200, "tol": None, "random_state": 0}
plain = make_pipeline(StandardScaler(), RegularizedClassifier(**settings)).fit(X, y)
DecisionPlaneDisplay.from_estimator(plain, X, y, scale="std", resolution=61)

# %%
# The same network, with a penalty on the Jacobian of its logits.
penalty = Jacobian(of="logits", alpha=0.03)
smooth = make_pipeline(StandardScaler(), RegularizedClassifier(penalty=penalty, **settings)).fit(X, y)
DecisionPlaneDisplay.from_estimator(smooth, X, y, scale="std", resolution=61)
