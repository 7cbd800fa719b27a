"""A scikit-learn scorer that attacks the estimator it scores."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import UNUSED


class AdversarialScorer(BaseEstimator):
    """Score a fitted classifier by what is left of its accuracy under attack."""

    # The scorer's `score` takes the estimator first; that is no metadata to route.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012

    def __init__(
        self,
        attack="worst_case",
        *,
        eps=0.1,
        norm=np.inf,
        metric="robust_accuracy",
        scale=None,
        reference_X=None,
        bounds=None,
        constraints=None,
        n_steps=50,
        n_restarts=1,
        max_queries=500,
        max_samples=None,
        batch_size=512,
        device="auto",
        random_state=None,
    ):
        self.attack = attack
        self.eps = eps
        self.norm = norm
        self.metric = metric
        self.scale = scale
        self.reference_X = reference_X
        self.bounds = bounds
        self.constraints = constraints
        self.n_steps = n_steps
        self.n_restarts = n_restarts
        self.max_queries = max_queries
        self.max_samples = max_samples
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    def __call__(self, estimator, X, y, sample_weight=None):
        """Return `score`: what scikit-learn calls a scorer is a callable."""
        return self.score(estimator, X, y, sample_weight=sample_weight)

    def score(self, estimator, X, y, sample_weight=None):
        """Return the metric as a float where larger is more robust, or all of them as a dict."""
        raise NotImplementedError

    def _accept_sample_weight(self):
        return True
