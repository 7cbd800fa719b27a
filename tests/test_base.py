"""The shared helpers: their sentences, their intervals, and what they never do."""

import numbers
from types import MappingProxyType

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from sklearn_brm import WTAEncoder, _base
from sklearn_brm._base import (
    any_device,
    as_tensor,
    callable_or,
    check_choice,
    check_factor,
    check_number,
    check_parameters,
    integer,
    number,
    one_of,
    resolve_device,
    torch_generator,
    with_plain_numbers,
)
from sklearn_brm._memory import apply_in_batches
from sklearn_brm.penalties import L2


class Owner:
    """Stands for an estimator."""


@pytest.mark.parametrize("value", [0, 0.0, 3, np.float32(2.5), np.int64(7), 1e300])
def test_numbers_inside_the_interval_are_returned_as_they_are(value):
    assert check_number(Owner(), "eps", value, "[0, inf)") is value


@pytest.mark.parametrize("value", [-1, -1e-300, np.inf, np.nan, -np.inf])
def test_numbers_outside_the_interval_are_a_value_error(value):
    with pytest.raises(ValueError, match=r"The 'eps' parameter of Owner must be a float in \[0, inf\)\. Got"):
        check_number(Owner(), "eps", value, "[0, inf)")


@pytest.mark.parametrize(("interval", "inside"), [("(0, 1)", False), ("[0, 1)", True), ("(0, 1]", False)])
def test_the_ends_of_an_interval_follow_its_brackets(interval, inside):
    if inside:
        assert check_number(Owner(), "x", 0, interval) == 0
    else:
        with pytest.raises(ValueError, match="must be a float in"):
            check_number(Owner(), "x", 0, interval)


@pytest.mark.parametrize("value", [True, np.True_, None, [1], "three", 1j])
def test_what_is_not_a_number_is_refused(value):
    kind = ValueError if isinstance(value, str) else TypeError
    with pytest.raises(kind, match=r"must be a float in \[0, 1\]\. Got"):
        check_number(Owner(), "x", value, "[0, 1]")


def test_a_fraction_is_not_an_int():
    with pytest.raises(TypeError, match=r"must be an int in \[1, inf\)\. Got 2\.0 instead"):
        check_number(Owner(), "n", 2.0, "[1, inf)", kind=numbers.Integral)


def test_literals_are_allowed_beside_numbers_and_named_in_the_message():
    assert check_number(Owner(), "n", "auto", "[1, inf)", also=("auto", None)) == "auto"
    assert check_number(Owner(), "n", None, "[1, inf)", also=("auto", None)) is None
    with pytest.raises(ValueError, match=r"a float in \[1, inf\), 'auto' or None\. Got 'car' instead"):
        check_number(Owner(), "n", "car", "[1, inf)", also=("auto", None))


def test_choices_compare_type_and_value():
    assert check_choice("f", "prune", False, (False, "mixture")) is False
    with pytest.raises(
        TypeError, match=r"The 'prune' parameter of f must be False or 'mixture'\. Got 0 instead"
    ):
        check_choice("f", "prune", 0, (False, "mixture"))


@pytest.mark.parametrize("value", [np.int64(2), np.int32(2), np.uint8(2)])
def test_a_choice_among_ints_takes_those_of_numpy(value):
    assert check_choice("f", "norm", value, (1, 2)) == 2
    with pytest.raises(TypeError, match=r"must be 1 or 2. Got True"):
        check_choice("f", "norm", True, (1, 2))
    with pytest.raises(TypeError, match=r"must be 1 or 2. Got 2.0"):
        check_choice("f", "norm", 2.0, (1, 2))


@pytest.mark.parametrize("kind", [numbers.Real, numbers.Integral])
def test_an_array_without_dimensions_is_no_number(kind):
    with pytest.raises(TypeError, match=r"The 'n' parameter of Owner must be .* Got array\(3\) instead"):
        check_number(Owner(), "n", np.array(3), "[1, inf)", kind=kind)


def test_plain_numbers_are_pythons_in_a_copy_and_everything_else_is_the_same():
    class Estimator(BaseEstimator):
        def __init__(self, n, rate, names, flag):
            self.n, self.rate, self.names, self.flag = n, rate, names, flag

    estimator = Estimator(np.uint8(200), np.float16(0.1), ("a",), np.True_)
    plain = with_plain_numbers(estimator)
    assert type(plain) is Estimator
    assert (type(plain.n), type(plain.rate)) == (int, float)
    assert (plain.n, plain.rate) == (200, float(np.float16(0.1)))
    assert plain.names is estimator.names
    assert type(estimator.n) is np.uint8


@pytest.mark.parametrize("factor", [0, 0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_a_factor_that_a_schedule_returns_becomes_a_float(factor):
    found = check_factor("f", "schedule", factor, "epoch 3")
    assert type(found) is float
    assert found == float(factor)


@pytest.mark.parametrize(
    ("factor", "error"),
    [(-0.1, ValueError), (np.nan, ValueError), (np.inf, ValueError), (np.float32(-1), ValueError),
     ("1", TypeError), (None, TypeError), (True, TypeError), (np.ones(2), TypeError), (1j, TypeError)],
)  # fmt: skip
def test_a_factor_that_would_not_train_forwards_is_refused_with_when(factor, error):
    message = (
        r"The 'schedule' parameter of f must be a callable that returns a float in \[0, inf\) for epoch 3"
    )
    with pytest.raises(error, match=message):
        check_factor("f", "schedule", factor, "epoch 3")


def test_a_choice_given_an_array_is_a_plain_error():
    with pytest.raises(TypeError, match="must be 'a' or 'b'"):
        check_choice("f", "x", np.zeros(3), ("a", "b"))


def test_a_choice_given_an_array_among_numbers_is_a_plain_error():
    with pytest.raises(TypeError, match="must be a float in"):
        check_number("f", "x", np.zeros(3), "[0, 1]", also=(None, 2))


def test_auto_finds_the_best_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device(Owner(), "auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device(Owner(), "auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device(Owner(), "auto") == torch.device("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "toaster", ""])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(
        ValueError, match=f"The 'device' parameter of Owner must be 'auto' or .* Got '{device}'"
    ):
        resolve_device(Owner(), device)


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_a_device_that_holds_no_numbers_is_refused(device):
    with pytest.raises(ValueError, match=r"The 'device' parameter of Owner must be 'auto' or .* Got .*meta"):
        resolve_device(Owner(), device)


def test_a_device_of_the_wrong_type_is_refused():
    with pytest.raises(TypeError, match=r"The 'device' parameter of Owner .* Got 3 instead"):
        resolve_device(Owner(), 3)


def test_a_read_only_array_is_copied_and_a_writable_one_shared():
    array = np.arange(3.0)
    assert as_tensor(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    assert as_tensor(array).data_ptr() != array.ctypes.data


@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1], np.s_[::-2, 1:]])
def test_an_array_that_runs_backwards_becomes_a_tensor_of_the_same_rows(turn):
    array = np.arange(12.0).reshape(4, 3)[turn]
    np.testing.assert_array_equal(as_tensor(array).numpy(), array)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_rows_in_batches_become_one_array_of_their_type_whatever_is_computed_in(batch_size, dtype):
    X = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)[::-1]
    seen = []

    def sums(rows, out):
        seen.append((len(rows), rows.dtype))
        out.copy_(rows.sum(dim=1, keepdim=True) * torch.ones(3, requires_grad=True))

    found = apply_in_batches(sums, X, 3, batch_size, device=torch.device("cpu"), dtype=dtype)
    np.testing.assert_allclose(found, np.tile(X.sum(axis=1, keepdims=True), 3), rtol=1e-5)
    assert found.dtype == np.float32
    assert {kind for _, kind in seen} == {dtype}
    assert sum(n for n, _ in seen) == 7
    assert max(n for n, _ in seen) == min(batch_size, 7)


def test_generators_follow_the_random_state_alone(global_state_unchanged):
    draws = [torch.rand(3, generator=torch_generator(np.random.RandomState(s))) for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_table_of_rules_checks_every_parameter_in_scikit_learns_sentence():
    class Table:
        _parameter_rules = MappingProxyType(
            {
                "size": integer("[1, inf)", "auto"),
                "rate": number("(0, inf)"),
                "mode": one_of("a", "b"),
                "step": callable_or("plain"),
                "device": any_device,
            }
        )
        size, rate, mode, step, device, free = 3, 0.5, "a", "plain", "cpu", object()

    check_parameters(Table())
    wrong = {
        "size": (0, "an int in \\[1, inf\\) or 'auto'. Got 0"),
        "rate": (float("nan"), "a float in \\(0, inf\\). Got nan"),
        "mode": ("c", "'a' or 'b'. Got 'c'"),
        "step": ("odd", "'plain' or a callable. Got 'odd'"),
        "device": ("toaster", "'auto' or a device that torch finds"),
    }
    for name, (value, words) in wrong.items():
        table = Table()
        setattr(table, name, value)
        with pytest.raises(ValueError, match=f"The '{name}' parameter of Table must be {words}"):
            check_parameters(table)


@pytest.fixture
def no_address(monkeypatch):
    monkeypatch.delenv("SKLEARN_BRM_DOCUMENTATION", raising=False)
    monkeypatch.setattr(_base, "_address_in_metadata", lambda label: "")


@pytest.mark.usefixtures("no_address")
def test_an_estimator_links_nowhere_while_there_is_no_documentation():
    assert WTAEncoder()._get_doc_link() == ""
    assert "Documentation for WTAEncoder" not in WTAEncoder()._repr_html_()


@pytest.mark.usefixtures("no_address")
def test_an_estimator_links_to_its_page_in_the_folder_that_was_built(monkeypatch, tmp_path):
    monkeypatch.setenv("SKLEARN_BRM_DOCUMENTATION", str(tmp_path))
    assert WTAEncoder()._get_doc_link() == ""
    page = tmp_path / "api" / "generated" / "sklearn_brm.WTAEncoder.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert WTAEncoder()._get_doc_link() == page.as_uri()
    html = WTAEncoder()._repr_html_()
    assert page.as_uri() in html
    assert "Documentation for WTAEncoder" in html


@pytest.mark.usefixtures("no_address")
def test_an_estimator_links_to_an_address_that_was_given(monkeypatch):
    monkeypatch.setenv("SKLEARN_BRM_DOCUMENTATION", "https://docs.example/")
    assert WTAEncoder()._get_doc_link() == "https://docs.example/api/generated/sklearn_brm.WTAEncoder.html"
    assert L2()._get_doc_link() == "https://docs.example/api/generated/sklearn_brm.penalties.L2.html"

    class Mine(L2):
        pass

    assert Mine()._get_doc_link() == ""


def test_the_metadata_name_no_documentation_before_there_is_one():
    assert "Documentation" not in str(_base._address_in_metadata("Documentation"))
