"""What is known of devices: where there is no float64, and what has room."""

import numpy as np
import pytest
import torch

from sklearn_brm._device import compute_dtype, fits_beside_the_work, float64_device


@pytest.mark.parametrize(
    "make", [np.dtype, lambda name: getattr(np, name), lambda name: getattr(torch, name)]
)
@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("float32", "cpu", torch.float32),
        ("float64", "cpu", torch.float64),
        ("float32", "mps", torch.float32),
        ("float64", "mps", torch.float32),
        ("float64", "cuda:1", torch.float64),
        ("int64", "cuda", torch.float64),
    ],
)
def test_all_but_float32_is_computed_in_float64_where_the_device_has_it(make, name, device, expected):
    assert compute_dtype(make(name), torch.device(device)) is expected


def test_devices_without_float64_give_way_to_the_processor():
    assert float64_device("mps") == torch.device("cpu")
    assert float64_device(torch.device("cuda:1")) == torch.device("cuda:1")


def test_data_has_room_beside_the_work_up_to_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (200, 1000))
    cuda = torch.device("cuda:0")
    assert fits_beside_the_work(100, cuda)
    assert not fits_beside_the_work(101, cuda)
    assert fits_beside_the_work(2**50, torch.device("mps")), "it shares the memory that the data lie in"
