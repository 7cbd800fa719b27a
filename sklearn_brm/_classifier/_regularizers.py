"""The penalties by name: how each is taken from a network and a batch, and what each cost in an epoch."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from ..functional import penalties
from ..functional.rectifier import rectifier_slope, rectify
from ..functional.spectra import StreamingCovariance
from ._checks import penalty_strengths

HOFFMAN_PROJECTIONS = 3


def split_weight(x):
    """Return the rows of a batch and their weights or None, from what skorch hands around."""
    return (x["X"], x["weight"]) if isinstance(x, dict) else (x, None)


@dataclass
class Batch:
    """What a penalty may look at: the network, the rows with their weights, and what came out of them."""

    network: torch.nn.Module
    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None
    losses: torch.Tensor
    scores: torch.Tensor
    preactivations: list

    def representation(self, of):
        """Return the logits, or what the last hidden layer holds; without one, the logits."""
        if of == "logits" or not self.preactivations:
            return self.scores
        u = self.preactivations[-1]
        return u if of == "preactivation" else rectify(u, self.network.power)


class Regularizer:
    """The sum of the penalties of an estimator, each times its strength, with a ledger per epoch.

    Parameters
    ----------
    settings : RegularizedClassifier
        Read for the penalties and their options.
    n_hidden : int
        Number of hidden layers.
    generator : torch.Generator
        On the CPU, for projections and random starts.
    """

    def __init__(self, settings, n_hidden, generator):
        self.strengths = penalty_strengths(settings)
        self.settings = settings
        self.n_projections = settings.jacobian_projections
        if self.n_projections == "auto":
            self.n_projections = 0 if n_hidden <= 1 else HOFFMAN_PROJECTIONS
        self.generator = generator
        self.eigenvectors = None
        self._sums, self._n_rows = defaultdict(float), 0

    @property
    def differentiates_input(self):
        """Whether the rows of a batch must require a gradient before the forward pass."""
        projects = "jacobian" in self.strengths and self.n_projections > 0
        return projects or "input_gradient" in self.strengths

    @property
    def looks_inside(self):
        """Whether a penalty's gradient passes through the activations, and not only through the weights.

        That of an exact Jacobian does not where the slopes are constants: for the plain rectifier.
        """
        plain = {"l1", "l2"}
        if self.n_projections == 0 and (
            self.settings.power == 1 or self.settings.jacobian_of == "preactivation"
        ):
            plain = plain | {"jacobian"}
        return not self.strengths.keys() <= plain

    def start_epoch(self, network, batches):
        """Let the spectral penalty look at all rows, for the directions to keep in this epoch."""
        if "spectral" in self.strengths:
            self.eigenvectors = covariance_eigenvectors(network, batches, self.settings.spectral_of)

    def __call__(self, batch):
        """Return the weighted sum of all penalties on `batch`, and note down what each contributed."""
        total = 0.0
        for name, strength in self.strengths.items():
            value = strength * PENALTIES[name](batch, self)
            self._sums[name] += value.detach() * len(batch.X)
            total = total + value
        self._n_rows += len(batch.X)
        return total

    def end_epoch(self):
        """Return each penalty's mean contribution to the loss since the last call."""
        means = {name: float(value) / self._n_rows for name, value in self._sums.items()}
        self._sums, self._n_rows = defaultdict(float), 0
        return means


@torch.no_grad()
def covariance_eigenvectors(network, batches, of):
    """Return the eigenvectors of a representation's (weighted) covariance over `batches`, largest first.

    LinAlgError where it has none, since training diverged.
    """
    covariance = None
    for x, y in batches:
        X, weight = split_weight(x)
        rows = Batch(network, X, y, weight, None, *network(X)).representation(of)
        if not torch.isfinite(rows).all():
            raise torch.linalg.LinAlgError("The representation is not finite.")
        if covariance is None:
            covariance = StreamingCovariance(rows.shape[1], device=rows.device)
        covariance.update(rows, weight)
    matrix = covariance.covariance(correction=0)
    return torch.linalg.eigh(matrix).eigenvectors.flip(dims=[1]).to(rows)


def _weights(batch, options):
    network = batch.network
    yield network.first_weight()
    yield from network.weights[1:]
    if options.settings.penalize_intercepts:
        yield from network.intercepts()
        yield from () if network.norm is None else network.norm.parameters()


def _l1(batch, options):
    return penalties.l1(_weights(batch, options))


def _l2(batch, options):
    return penalties.l2(_weights(batch, options))


def _jacobian(batch, options):
    network, of = batch.network, options.settings.jacobian_of
    if options.n_projections:
        outputs = batch.representation(of)
        return penalties.jacobian_projected(
            outputs, batch.X, options.n_projections, options.generator, batch.weight
        )
    W = network.first_weight().T
    if of == "preactivation" or not batch.preactivations:
        return penalties.l2([W])
    slope = rectifier_slope(batch.preactivations[0], network.power)
    if of == "hidden":
        return penalties.jacobian_hidden(W, slope, batch.weight)
    return penalties.jacobian_logits(W, slope, network.last_weight().T, batch.weight)


def _spectral(batch, options):
    settings = options.settings
    rows = batch.representation(settings.spectral_of)
    law = settings.spectral_exponent, settings.spectral_start
    return penalties.spectral(rows, options.eigenvectors, *law, batch.weight)


def _input_gradient(batch, options):
    norm = options.settings.input_gradient_norm
    return penalties.input_gradient(batch.losses, batch.X, batch.weight, norm)


def _adversarial(batch, options):
    network, settings = batch.network, options.settings

    def losses(rows):
        return cross_entropy(network(rows)[0], batch.y, reduction="none")

    # The attack sees the network as it predicts, and leaves the running statistics alone.
    network.eval()
    rows = penalties.adversarial_rows(
        losses, batch.X, settings.adversarial_eps, settings.adversarial_steps, options.generator
    )
    network.train()
    return penalties.weighted_mean(losses(rows), batch.weight)


PENALTIES = {
    "l1": _l1,
    "l2": _l2,
    "jacobian": _jacobian,
    "spectral": _spectral,
    "input_gradient": _input_gradient,
    "adversarial": _adversarial,
}
