"""What serves the examples to the units and what learns from them, without the estimator around them."""

import numpy as np
import pytest
import torch

from sklearn_brm._encoder._feeds import Feed, RowFeed
from sklearn_brm._encoder._initial_weights import initial_weights
from sklearn_brm._encoder._learning import Learner
from sklearn_brm.functional.plasticity import PlasticLayer, Rule, minibatch_step

CPU = torch.device("cpu")


def row_feed(X, norm=3, dtype=torch.float64, device=CPU):
    return RowFeed(X, device=device, dtype=dtype, norm=norm)


def make_learner(W, **kwargs):
    settings = {"step": minibatch_step, "rate": lambda update: 0.02, "batch_size": 4} | kwargs
    return Learner(PlasticLayer(torch.tensor(W, dtype=torch.float64), 3), Rule(), **settings)


# Feeds


@pytest.mark.parametrize("norm", [None, 3])
def test_the_feed_serves_every_row_once_and_the_last_batch_too(norm):
    X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    X[3] = 0
    X.setflags(write=False)
    order = np.random.default_rng(1).permutation(10)
    feed = row_feed(X, norm, torch.float32)
    batches = [batch.clone() for batch in feed.batches(order, 4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    expected = X[order]
    if norm:
        norms = np.linalg.norm(expected, ord=norm, axis=1, keepdims=True)
        expected = expected / np.where(norms == 0, 1, norms)
    np.testing.assert_allclose(torch.cat(batches).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(feed.take(order).numpy(), expected, rtol=1e-6)
    assert (len(feed), feed.n_features) == X.shape
    assert feed.with_length().tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_batches_of_any_size_may_follow_each_other():
    X = np.arange(12.0).reshape(6, 2)
    feed = row_feed(X, None)
    for indices in ([1], [5, 0, 2], [3]):
        (rows,) = feed.batches(np.array(indices), 3)
        np.testing.assert_array_equal(rows.numpy(), X[indices])


class LateCopies:
    """A CUDA device whose copies from the host happen as late as they may: when somebody waits for them."""

    def __init__(self, monkeypatch, free_memory):
        self.on_their_way, self.events = [], []
        make = {name: getattr(torch, name) for name in ("empty", "tensor", "as_tensor")}
        to = torch.Tensor.to
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_memory, free_memory))
        for name, function in make.items():
            monkeypatch.setattr(torch, name, self.without_device(function))
        monkeypatch.setattr(
            torch.Tensor, "to", lambda x, *args, **kw: self.send(x) if "non_blocking" in kw else to(x, *args)
        )

    @staticmethod
    def without_device(function):
        return lambda *args, device=None, pin_memory=False, **kwargs: function(*args, **kwargs)

    def send(self, host):
        rows = torch.full_like(host, np.nan)
        self.on_their_way.append((rows, host))
        return rows

    def record_event(self):
        event, self.on_their_way = Event(self.on_their_way), []
        self.events.append(event)
        return event

    def finish(self):
        for event in self.events:
            event.synchronize()


class Event:
    def __init__(self, copies):
        self.copies = copies

    def synchronize(self):
        for rows, host in self.copies:
            rows.copy_(host)
        self.copies = []


def test_a_stream_to_cuda_serves_what_was_asked_for_however_late_the_copies_are(monkeypatch):
    device = LateCopies(monkeypatch, free_memory=0)
    X = np.arange(12.0).reshape(6, 2)
    served = list(row_feed(X, None, device=torch.device("cuda:0")).batches(np.arange(6), 1))
    assert served[-1].isnan().all(), "the last copies are waited for although nothing needs their memory"
    device.finish()
    np.testing.assert_array_equal(torch.cat(served).numpy(), X)


def test_rows_that_have_room_on_the_device_are_sent_there_once(monkeypatch):
    LateCopies(monkeypatch, free_memory=2**20)
    X, order = np.arange(12.0).reshape(6, 2), np.array([5, 0, 0, 3])
    feed, expected = row_feed(X, None, device=torch.device("cuda:0")), X[order].copy()
    X[:] = np.nan
    np.testing.assert_array_equal(torch.cat(list(feed.batches(order, 3))).numpy(), expected)


class Windows(Feed):
    """All stretches of three numbers of a sequence: examples that lie nowhere as rows."""

    def __init__(self, sequence):
        super().__init__(3, device=CPU, dtype=torch.float64)
        self.sequence = torch.tensor(sequence, dtype=torch.float64)

    def __len__(self):
        return len(self.sequence) - 2

    def batches(self, order, size):
        for part in torch.as_tensor(order).split(size):
            yield torch.stack([self.sequence[start : start + 3] for start in part.tolist()])

    def with_length(self):
        return np.array([i for i in range(len(self)) if self.sequence[i : i + 3].any()])


@pytest.mark.parametrize("init", ["rows", "normal", "spread"])
def test_units_learn_the_same_from_any_feed_of_the_same_examples(init):
    sequence = np.random.default_rng(0).normal(size=40)
    sequence[7:11] = 0
    rows = np.lib.stride_tricks.sliding_window_view(sequence, 3)
    learned = []
    for feed in (Windows(sequence), row_feed(np.array(rows), None)):
        random_state = np.random.RandomState(0)
        W = initial_weights(init, feed, 5, norm=3.0, radius=1.0, random_state=random_state)
        learner = make_learner(W.numpy(), batch_size=7)
        orders = (random_state.permutation(len(feed)) for _ in range(4))
        learner.train(feed, orders, tol=0.01, last_revival=2, random_state=random_state)
        learned.append(learner)
    np.testing.assert_array_equal(learned[0].layer.W.numpy(), learned[1].layer.W.numpy())
    assert learned[0].history == learned[1].history
    assert learned[0].n_updates == 4 * 6


# Learning


def test_the_learner_counts_updates_and_wins_but_not_rows_of_zeros():
    X = np.abs(np.random.default_rng(0).normal(size=(10, 3)))
    X[2] = 0
    rates = []
    W = np.abs(np.random.default_rng(0).normal(size=(5, 3)))
    learner = make_learner(W, rate=lambda update: rates.append(update) or 0.02)
    learner.learn(row_feed(X), np.arange(10))
    assert rates == [0, 1, 2]
    assert learner.n_updates == 3
    assert int(learner.wins.sum()) == 9


def train_at_rest(learner, X, n_epochs, **kwargs):
    feed = row_feed(X)
    orders = [np.arange(len(feed))] * n_epochs
    learner.train(feed, orders, tol=0.01, random_state=np.random.RandomState(0), **kwargs)
    return learner


@pytest.mark.parametrize("order", [[0, 0, 0, 0, 2], [2, 0, 0, 0, 0]])
def test_dead_units_are_revived_at_the_rows_farthest_from_their_winner(order):
    learner = make_learner([[1.0, 0, 0.3], [-1.0, 0, 0]], rate=lambda update: 0.0)
    train_at_rest(learner, np.eye(3)[order], 1, last_revival=1)
    assert learner.layer.W.tolist() == [[1, 0, 0.3], [0, 0, 1]]
    assert learner.layer.A.tolist()[1] == [0, 0, 1]


def test_rows_of_zeros_revive_no_unit():
    X = np.eye(3)[[0, 0, 1, 2]] * [[1], [1], [0], [1]]
    learner = make_learner([[1.0, 0, 0.3], [-1.0, 0, 0], [0, -1.0, 0]], rate=lambda update: 0.0)
    # The last row is the only one that is poorly represented: that of zeros overlaps with no unit.
    train_at_rest(learner, X, 1, last_revival=1)
    assert learner.layer.W.tolist() == [[1, 0, 0.3], [0, 0, 1], [0, -1, 0]]


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize(
    ("units", "ends"), [([[1.0, 0], [0, 1]], True), ([[1.0, 0], [-2, 0]], True), ([[1.0, 0], [0, 2]], False)]
)
def test_units_at_rest_end_the_training_only_if_those_that_win_have_the_radius(units, ends, patience):
    learner = make_learner(units, rate=lambda update: 0.0)
    train_at_rest(learner, np.array([[1.0, 0.2], [0.2, 1.0]]), 6, patience=patience)
    assert learner.history["largest_change"] == [0.0] * (patience if ends else 6)


def test_no_order_is_drawn_beyond_the_epoch_that_ends_the_training():
    asked = []
    orders = (asked.append(epoch) or np.arange(2) for epoch in range(6))
    learner = make_learner([[1.0, 0], [0, 1]], rate=lambda update: 0.0)
    learner.train(row_feed(np.eye(2)), orders, tol=0.01, patience=2)
    assert asked == [0, 1]
