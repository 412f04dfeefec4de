"""The page's server in a thread of the test, and questions that a browser would never ask."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from vidswap.web.options import UiOptions
from vidswap.web.server import PageServer


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str:
        text: str = self.told["error"]
        return text


class Served:
    """A server and how to ask it. Without other headers questions are those of its own page."""

    def __init__(self, server: PageServer) -> None:
        self.server, self.site = server, server.site
        rest = server.address.removeprefix("http://")
        self.host, _, path = rest.partition("/")
        self.token = path.strip("/")

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: Iterable[tuple[str, str]] | None = None,
        token: str | None = None,
        length: int | None = None,
    ) -> Answer:
        """`path` as it stands, after the token."""
        method = method or ("GET" if body is None else "POST")
        own = [("Host", self.host)]
        if method not in ("GET", "HEAD"):
            own += [("Origin", f"http://{self.host}"), ("Sec-Fetch-Site", "same-origin")]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.putrequest(
            method, f"/{self.token if token is None else token}/{path}", skip_host=True,
            skip_accept_encoding=True,
        )  # fmt: skip
        for name, value in own if headers is None else headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(content) if length is None else length))
        connection.endheaders(content if body is not None else None)
        response = connection.getresponse()
        headers_got = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers_got, response.read())
        connection.close()
        return answer


@contextmanager
def serving(
    target: Path | None, roots: Sequence[Path], work: Path, **options: Any
) -> Iterator[Served]:
    server = PageServer(target, roots, UiOptions(work_folder=work, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Served(server)
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
