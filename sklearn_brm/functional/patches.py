"""Images as patches: where they are cut, how their contrast is evened out and whitened, how maps are pooled.

Images are tensors of shape (n, height, width, channels); a patch is a row of its pixels in the same order.
"""

import torch
from torch import Tensor, nn

__all__ = ["cut", "grid_weights", "places", "pool_padding", "pooling_weights", "reflect", "zca"]


def reflect(images: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return the images with as many rows and columns mirrored at each border, the border itself once."""
    if not any(padding):
        return images
    rows, columns = padding
    channels_first = images.permute(0, 3, 1, 2)
    padded = nn.functional.pad(channels_first, (columns, columns, rows, rows), mode="reflect")
    return padded.permute(0, 2, 3, 1)


def places(length: int, size: int, stride: int, padding: int = 0) -> int:
    """Return how many windows of `size` fit along a side of `length`, `stride` apart."""
    return (length + 2 * padding - size) // stride + 1


def cut(images: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """Return all patches, of shape (n, rows of places, columns of places, height * width * channels)."""
    windows = images.unfold(1, size[0], stride).unfold(2, size[1], stride)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)


def zca(patches: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return mean and matrix of the whitening ``(x - mean) @ matrix`` that changes patches least (ZCA).

    The matrix is ``(C + share * trace(C) / n I)^(-1/2)`` of the covariance C of the n pixels, so that
    `share` is in units of their mean variance (Coates, Lee, Ng, AISTATS 2011, sec. 3.1: 0.1 after contrast
    normalisation, where that is 1). Computed in float64.

    Parameters
    ----------
    patches : Tensor of shape (n_patches, n_pixels)
    share : float
        Zero is full whitening; directions in which nothing varies are then left out.

    Returns
    -------
    mean : Tensor of shape (n_pixels,)
    matrix : Tensor of shape (n_pixels, n_pixels)
        Symmetric.
    """
    mean = patches.mean(dim=0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=patches.device)
    for part in patches.split(8192):
        centred = part.to(torch.float64) - mean
        covariance.addmm_(centred.T, centred, alpha=1 / len(patches))
    variances, axes = torch.linalg.eigh(covariance)
    variances = variances.clamp(min=0)
    offset = share * variances.mean()
    floor = torch.finfo(patches.dtype).eps * len(mean) * variances.max()
    gains = torch.where(variances + offset > floor, (variances + offset).rsqrt(), 0.0)
    return mean.to(patches.dtype), ((axes * gains) @ axes.T).to(patches.dtype)


def pool_padding(size: int, stride: int) -> int:
    """Return by how much pooling windows stick out at each border: half of what neighbours overlap."""
    return max(size - stride, 0) // 2


def pooling_weights(length: int, size: int, stride: int) -> Tensor:
    """Return the matrix of mean pooling along a side, of shape (n_windows, length).

    Windows that stick out are averaged over what they hold of the image.
    """
    padding = pool_padding(size, stride)
    first = torch.arange(places(length, size, stride, padding))[:, None] * stride - padding
    at = torch.arange(length)
    return _averages((at >= first) & (at < first + size))


def grid_weights(length: int, n_cells: int) -> Tensor:
    """Return the matrix that averages a side over `n_cells` cells of equal size, (n_cells, length).

    Where they do not divide it, neighbours share the places on their border.
    """
    first = torch.arange(n_cells)[:, None] * length // n_cells
    last = -(-(torch.arange(n_cells)[:, None] + 1) * length // n_cells)
    at = torch.arange(length)
    return _averages((at >= first) & (at < last))


def _averages(member: Tensor) -> Tensor:
    return member.double() / member.sum(dim=1, keepdim=True)
