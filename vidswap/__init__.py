"""vidswap: swap a face in a real video.

The job of the command line from Python:

    result = vidswap.swap_video(["source.jpg"], "target.mp4", "out.mp4")

`swap_frames` takes and gives frames one at a time. Heavy imports happen on first use.
"""

from typing import TYPE_CHECKING, Any

from vidswap.errors import VidswapError
from vidswap.version import __version__

if TYPE_CHECKING:
    from vidswap.swap.job import swap_video
    from vidswap.swap.options import SwapOptions, SwapResult
    from vidswap.swap.stages import swap_frames

__all__ = [
    "SwapOptions",
    "SwapResult",
    "VidswapError",
    "__version__",
    "swap_frames",
    "swap_video",
]


def __getattr__(name: str) -> Any:
    if name in ("SwapOptions", "SwapResult", "swap_frames", "swap_video"):
        from vidswap.swap import job

        return getattr(job, name)
    raise AttributeError(f"module 'vidswap' has no attribute {name!r}")
