"""`vidswap ui`: the server, on 127.0.0.1 alone, from its start to Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from vidswap.errors import BadOptionError, MissingLibraryError, OutputNotWritableError
from vidswap.runtime.inputs import check_readable
from vidswap.web.options import DEFAULT_UPLOAD, UiOptions

HOST = "127.0.0.1"
_TOKEN_BYTES = 24


def data_folder() -> Path:
    """Where dropped files, results and jobs lie by default (XDG_DATA_HOME)."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    try:
        return Path(home).expanduser() / "vidswap" / "ui"
    except RuntimeError as error:  # a user without a home
        raise OutputNotWritableError("there is no home folder; give --work-folder") from error


class PageServer:
    """The page's server, listening from the beginning; `run` answers until it is interrupted.

    target: what the page shows first. roots: folders that the page may read and write, besides
    those of the target and of the work. `address` holds the token.

    Raises MissingLibraryError, BadOptionError, InputNotFoundError, OutputNotWritableError.
    """

    def __init__(self, target: Path | None, roots: Sequence[Path], options: UiOptions) -> None:
        try:
            import starlette  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise MissingLibraryError(
                "vidswap ui needs Starlette and uvicorn; pip install 'vidswap[web]'"
            ) from error
        from vidswap.web.app import Site, application, make_work_folder
        from vidswap.web.commands import swapping, viewing
        from vidswap.web.engine import Engine
        from vidswap.web.jobs import Jobs
        from vidswap.web.roots import Roots

        if target is not None:
            check_readable(target)
            target = Path(os.path.realpath(target))
        for root in roots:
            if not root.is_dir():
                raise BadOptionError(f"--root {root}: no such folder; name one that is there")
        work = Path(os.path.realpath(options.work_folder or data_folder()))
        make_work_folder(work)
        allowed = [*(roots or [Path.cwd()]), *([target.parent] if target else []), work]
        self._listening = _listen(options.port)
        port = self._listening.getsockname()[1]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.address = f"http://{HOST}:{port}/{token}/"
        viewer, swapper = Engine("viewing", viewing), Engine("swapping", swapping)
        inside = Roots(allowed)
        self.site = Site(
            roots=inside, work=work, viewer=viewer, swapper=swapper,
            jobs=Jobs(work / "jobs", swapper, viewer, inside),
            max_upload=options.max_upload or DEFAULT_UPLOAD,
            segment_frames=options.segment_frames, target=target,
        )  # fmt: skip
        config = uvicorn.Config(
            application(self.site, token, [f"{HOST}:{port}", f"localhost:{port}"]),
            log_level="error", access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=1, limit_concurrency=64,
        )  # fmt: skip
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Answer until Ctrl-C or `stop`; then end the processes that it works with."""
        try:
            self._server.run(sockets=[self._listening])
        finally:
            self.site.viewer.close()
            self.site.swapper.close()
            self._listening.close()

    def stop(self) -> None:
        """Let `run` return, from another thread."""
        self._server.should_exit = True


def serve(
    target: Path | None, roots: Sequence[Path], options: UiOptions, say: Callable[[str], None]
) -> None:
    """Serve the page until Ctrl-C; `say` is told its address. Raises as `PageServer`."""
    server = PageServer(target, roots, options)
    folders = ", ".join(map(str, server.site.roots.folders))
    say(f"{server.address}\nthe page may use {folders}\nCtrl-C ends it")
    if options.open:
        threading.Timer(0.5, webbrowser.open, (server.address,)).start()
    with suppress(KeyboardInterrupt):  # the way it is ended
        server.run()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        words = (error.strerror or "unknown reason").lower()
        raise BadOptionError(f"--port {port} cannot be used: {words}; give another") from error
    return listening
