"""The mirrored-sigmoid blending mask (AP-GAN, III.D, eq. 12, Fig. 5)."""

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.08  # slope, a pixel of the 256-pixel crop
GAMMA = 0.7  # inflection, in half sides


def mirrored_sigmoid_mask(
    size: int = 256, alpha: float = ALPHA, gamma: float = GAMMA
) -> NDArray[np.float32]:
    """Eq. 12: weights (size, size) in [0, 1], near 1 in the centre, near 0 at the edges.

    x and y are pixel positions from 0 to size - 1 and mid is half the size. At another size than
    256 alpha must be scaled by 256 / size for the same shape.
    """
    mid = size / 2.0
    distance = np.abs(np.arange(size) - mid)
    square = np.maximum(distance[:, None], distance[None, :])
    mask: NDArray[np.float64] = 1.0 / (1.0 + np.exp(alpha * (square - gamma * mid)))
    return mask.astype(np.float32)
