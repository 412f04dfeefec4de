"""vidswap: swap a face in a real video.

The job of the command line from Python:

    result = vidswap.swap_video(["source.jpg"], "target.mp4", "out.mp4")

Many jobs with the nets loaded once:

    with vidswap.Worker() as worker:
        for target in targets:
            worker.run(vidswap.SwapRequest.of(["source.jpg"], target, f"out/{target.name}"))

Frames one at a time, from wherever they come:

    with contextlib.closing(vidswap.load_models()) as models:
        source = vidswap.read_source(models, ["source.jpg"])
        for frame in vidswap.swap_frames(frames, source, models):
            ...

Heavy imports happen on first use. They set OMP_WAIT_POLICY=PASSIVE unless it is set: a program that
imports torch before should do so itself, or the threads that wait for work starve those that work.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vidswap.errors import VidswapError
from vidswap.runtime.process import configure_imported
from vidswap.version import __version__

if TYPE_CHECKING:
    from vidswap.media.decoder import VideoReader
    from vidswap.media.frame import Frame
    from vidswap.swap.job import read_source
    from vidswap.swap.options import SwapOptions, SwapResult
    from vidswap.swap.path import swap_frames
    from vidswap.swap.request import SwapRequest
    from vidswap.swap.worker import Worker, load_models, swap_video

__all__ = [
    "Frame",
    "SwapOptions",
    "SwapRequest",
    "SwapResult",
    "VideoReader",
    "VidswapError",
    "Worker",
    "__version__",
    "load_models",
    "read_source",
    "swap_frames",
    "swap_video",
]

_MODULES = {
    "Frame": "vidswap.media.frame",
    "SwapOptions": "vidswap.swap.options",
    "SwapRequest": "vidswap.swap.request",
    "SwapResult": "vidswap.swap.options",
    "VideoReader": "vidswap.media.decoder",
    "Worker": "vidswap.swap.worker",
    "load_models": "vidswap.swap.worker",
    "read_source": "vidswap.swap.job",
    "swap_frames": "vidswap.swap.path",
    "swap_video": "vidswap.swap.worker",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        configure_imported()
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'vidswap' has no attribute {name!r}")
