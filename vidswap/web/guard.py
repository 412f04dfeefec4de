"""Who may talk to the server: this page alone, whatever other pages the browser has open.

A request is let through that names this computer (Host, against DNS rebinding), knows the token in
the address, and, where it writes, says that it comes from this page (Origin).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

READING = ("GET", "HEAD")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# A report has style and script of its own; in a sandbox they reach neither page nor network.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware. `hosts`: the names with port by which the server may be called."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]) -> None:
        self._app, self._token, self._hosts = app, token, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.setdefault("headers", [])
                known = {name.lower() for name, _ in given}
                extra = _HEADERS | {"Content-Security-Policy": PAGE_POLICY}
                given += [
                    (name.lower().encode(), value.encode())
                    for name, value in extra.items()
                    if name.lower().encode() not in known
                ]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = [(name.decode("latin-1"), v.decode("latin-1")) for name, v in scope["headers"]]
        hosts = [value for name, value in headers if name == "host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return (
                "this server answers to the address that vidswap ui printed, and to no other name"
            )
        first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not hmac.compare_digest(first.encode(), self._token.encode()):
            return "the address lacks its token; open the one that vidswap ui printed"
        origins = [value for name, value in headers if name == "origin"]
        site = [value for name, value in headers if name == "sec-fetch-site"]
        if scope["method"] not in READING and origins != [f"http://{hosts[0]}"]:
            return "a change can only be asked for by the page itself"
        if scope["method"] not in READING and site not in ([], ["same-origin"]):
            return "a change can only be asked for by the page itself"
        return None
