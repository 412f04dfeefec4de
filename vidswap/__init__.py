"""vidswap: swap a face in a real video.

The job of the command line from Python:

    result = vidswap.swap_video(["source.jpg"], "target.mp4", "out.mp4")

`swap_frames` takes and gives frames one at a time. Heavy imports happen on first use.
"""

from typing import TYPE_CHECKING, Any

from vidswap.errors import VidswapError
from vidswap.version import __version__

if TYPE_CHECKING:
    from pipelines.swap import swap_video
    from pipelines.swap_options import SwapOptions, SwapResult
    from pipelines.swap_stages import swap_frames

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
        from pipelines import swap

        return getattr(swap, name)
    raise AttributeError(f"module 'vidswap' has no attribute {name!r}")
