"""Classifiers that model the distribution of each class."""

import numpy as np
import torch
from sklearn import naive_bayes
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from ._linear import convert_linear
from ._projections import affine
from ._registry import answering, converts, converts_classifier


@converts(LinearDiscriminantAnalysis)
def convert_linear_discriminant(analysis, target):
    """Decision values or, before another step, the projection on the discriminant directions."""
    if target.response != "transform":
        return answering(convert_linear)(analysis, target)
    n_directions = len(analysis.get_feature_names_out())
    shift = target.tensor(analysis.xbar_) if analysis.solver == "svd" else None
    return affine(target.tensor(analysis.scalings_)[:, :n_directions], shift)


@converts_classifier(QuadraticDiscriminantAnalysis)
def convert_quadratic_discriminant(analysis, target):
    """Logarithms of the class posteriors, up to a number common to the row."""
    # One matrix per class whitens it: distances are then Euclidean.
    whiten = [
        target.tensor(rotation / np.sqrt(scaling))
        for rotation, scaling in zip(analysis.rotations_, analysis.scalings_)
    ]
    means = [target.tensor(mean) for mean in analysis.means_]
    log_det = target.tensor([np.log(scaling).sum() for scaling in analysis.scalings_])
    offset = target.tensor(analysis.priors_).log() - log_det / 2

    def scores(X):
        squares = [((X - mean) @ matrix).square().sum(dim=1) for mean, matrix in zip(means, whiten)]
        return offset - torch.stack(squares, dim=1) / 2

    return scores


@converts_classifier(naive_bayes.GaussianNB)
def convert_gaussian_bayes(classifier, target):
    """Logarithms of the joint densities."""
    mean, precision = target.tensor(classifier.theta_), target.tensor(1 / classifier.var_)
    log_scale = target.tensor(2 * np.pi * classifier.var_).log().sum(dim=1) / 2
    offset = target.tensor(classifier.class_prior_).log() - log_scale

    def scores(X):
        # Not expanded into X^2 - 2 X mean + mean^2, which cancels in float32.
        return offset - ((X[:, None] - mean).square() * precision).sum(dim=2) / 2

    return scores


@converts_classifier(naive_bayes.MultinomialNB, naive_bayes.ComplementNB)
def convert_count_bayes(classifier, target):
    """Logarithms of the joint probabilities of counts, which are linear in the counts."""
    is_complement = isinstance(classifier, naive_bayes.ComplementNB)
    prior = 0 if is_complement else target.tensor(classifier.class_log_prior_)
    log_prob = target.tensor(classifier.feature_log_prob_)
    return lambda X: X @ log_prob.T + prior
