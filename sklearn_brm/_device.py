"""What devices have: float64, which Apple's GPUs lack, fast products in bfloat16, and free memory."""

import numpy as np
import torch

# What the products of a layer can be asked for in.
PRECISIONS = ("float32", "bfloat16")


def has_float64(device: torch.device | str) -> bool:
    """Return whether `device` computes in float64; Apple's "mps" does not."""
    return torch.device(device).type != "mps"


def compute_dtype(dtype: torch.dtype | np.dtype | type, device: torch.device | str) -> torch.dtype:
    """Return the torch dtype for data of the NumPy or torch `dtype`: float32 for float32, else float64.

    On a device without float64 all is computed in float32.
    """
    short = dtype == torch.float32 or dtype == np.float32
    return torch.float32 if short or not has_float64(device) else torch.float64


def float64_device(device: torch.device | str) -> torch.device:
    """Return `device`, or the processor in place of a device without float64."""
    return torch.device(device if has_float64(device) else "cpu")


def product_dtype(precision: str, device: torch.device | str) -> torch.dtype | None:
    """Return the dtype that products are taken in where `precision` is asked for, None for that of the data.

    It is None, too, for "bfloat16" on a processor that would have to emulate it, which takes up to a hundred
    times as long as float32.
    """
    return torch.bfloat16 if precision == "bfloat16" and _has_bfloat16(device) else None


def _has_bfloat16(device: torch.device | str) -> bool:
    """Return whether `device` is at least as fast in bfloat16 as in float32."""
    is_cpu = torch.device(device).type == "cpu"
    return not is_cpu or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def fits_beside_the_work(n_bytes: int, device: torch.device) -> bool:
    """Return whether data of this size take at most half of the memory that is free on `device`."""
    return 2 * n_bytes <= _free_memory(device)


def _free_memory(device: torch.device) -> float:
    """Return the bytes free on `device`, without bound where the device shares the memory of the host."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
