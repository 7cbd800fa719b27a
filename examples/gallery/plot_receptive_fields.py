"""
What the units of an encoder learn
==================================

`WTAEncoder` learns prototypes of images without a label and without back-propagation: each row pulls the unit
that fits it best and pushes away the runner-up.
"""

from sklearn.datasets import load_digits

from sklearn_brm import ReceptiveFieldDisplay, WTAEncoder

X, y = load_digits(return_X_y=True)
encoder = WTAEncoder(n_components=64, random_state=0).fit(X)
print(f"{encoder.converged_.mean():.0%} of the units have converged, {encoder.dead_.mean():.0%} are dead")

ReceptiveFieldDisplay.from_estimator(encoder, image_shape=(8, 8))
