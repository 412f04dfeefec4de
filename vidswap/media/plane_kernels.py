"""Writing changed pixels into the planes of a frame in one pass over memory (numba)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidswap.runtime.kernels import compiled

Samples = npt.NDArray[np.uint8]


@compiled
def write_changed(
    old: Samples, new: Samples, affine: npt.NDArray[np.float32], first: Samples, second: Samples,
    third: Samples, across: int, down: int,
) -> None:  # fmt: skip
    """Write the pixels of `new` that differ from `old`, (H, W, 3) R'G'B', as 8-bit components.

    `affine` (3, 4) makes the components of R'G'B'. `first` (H, W) changes where its pixel does;
    `second` and `third`, one sample for `across` x `down` pixels, become the mean over their pixels
    where one of these does. A block that the window's right or bottom edge cuts repeats its last
    column or row. Rounds half to even, as NumPy does.
    """
    height, width = old.shape[0], old.shape[1]
    share = np.float32(1.0 / (across * down))
    for v in range(second.shape[0]):
        for u in range(second.shape[1]):
            changed = False
            red = green = blue = np.float32(0)
            for j in range(down):
                y = min(v * down + j, height - 1)
                for i in range(across):
                    x = min(u * across + i, width - 1)
                    r, g, b = new[y, x, 0], new[y, x, 1], new[y, x, 2]
                    fr, fg, fb = np.float32(r), np.float32(g), np.float32(b)
                    red += fr
                    green += fg
                    blue += fb
                    if r != old[y, x, 0] or g != old[y, x, 1] or b != old[y, x, 2]:
                        changed = True
                        first[y, x] = _code(affine[0], fr, fg, fb)
            if changed:
                red, green, blue = red * share, green * share, blue * share
                second[v, u] = _code(affine[1], red, green, blue)
                third[v, u] = _code(affine[2], red, green, blue)


@compiled
def _code(row: npt.NDArray[np.float32], r: np.float32, g: np.float32, b: np.float32) -> np.uint8:
    value = np.rint(row[0] * r + row[1] * g + row[2] * b + row[3])
    return np.uint8(min(max(value, np.float32(0)), np.float32(255)))
