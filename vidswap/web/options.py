"""How the page is served."""

# ruff: noqa: RUF009 -- `option` makes a field

from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import BadOptionError
from vidswap.options import OUTPUT, check_ranges, described, option
from vidswap.runtime.sizes import format_size

SERVER = "Server"
DEFAULT_UPLOAD = 2**34  # bytes


@described
@dataclass(frozen=True, kw_only=True)
class UiOptions:
    """How to serve the page. Raises BadOptionError."""

    # fmt: off
    port: int = option(
        0, help="Port on 127.0.0.1; 0: a free one.", group=SERVER, least=0, greatest=65535
    )
    open: bool = option(False, help="Open the page in the browser.", group=SERVER)
    max_upload: int | None = option(
        None,
        help="Largest file that may be dropped on the page, such as 8G.",
        group=SERVER, least=1, is_size=True, metavar="SIZE", unset=format_size(DEFAULT_UPLOAD),
    )
    work_folder: Path | None = option(
        None,
        help="Folder for dropped files, results and jobs.",
        group=OUTPUT, metavar="FOLDER", unset="in the user's data folder",
    )
    segment_frames: int = option(
        250,
        help="Frames per segment; an interruption loses at most one.",
        group=OUTPUT, least=1, on_command_line=False,
    )
    # fmt: on

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.port and self.port < 1024:
            raise BadOptionError(f"--port {self.port}; it must be 0, or from 1024 to 65535")
