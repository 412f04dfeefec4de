"""What the page asks the server for, as an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import mimetypes
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from vidswap.batch.state import state_folder_of
from vidswap.batch.status import counts_of, status_in
from vidswap.errors import (
    BadOptionError,
    InputNotFoundError,
    NotAVideoError,
    VidswapError,
)
from vidswap.media.output import writing_errors
from vidswap.runtime.private import make_private_folder, open_private
from vidswap.runtime.text import escaped
from vidswap.swap.command_line import command_line
from vidswap.swap.options import SwapOptions
from vidswap.version import __version__
from vidswap.web.engine import Engine
from vidswap.web.guard import REPORT_POLICY, Guard
from vidswap.web.jobs import MOST_SHOWN, Jobs, row
from vidswap.web.roots import OutsideError, Roots
from vidswap.web.settings import fields, output_for, request_of_page
from vidswap.web.uploads import TooLargeError, receive

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent
MOST_BODY = 2**20  # bytes of a question in JSON
_STATIC = {"app.js": "text/javascript", "stage.js": "text/javascript", "app.css": "text/css"}
_STATUS = ((OutsideError, 403), (TooLargeError, 413), (InputNotFoundError, 404))

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Site:
    """What the application works with. target: what the page shows first.

    work: folder for uploads, results and jobs, which the page may read and write too.
    """

    roots: Roots
    work: Path
    viewer: Engine
    swapper: Engine
    jobs: Jobs
    max_upload: int
    segment_frames: int
    target: Path | None = None
    newest_look: int = 0
    doing: str = ""

    def listen(self, said: dict[str, Any]) -> None:
        """Note what a process is at, for whoever asks."""
        if "doing" in said:
            self.doing = said["doing"]
        elif "frames" in said:
            self.doing = f"frame {said['frames']} of {said['expected']}"

    @property
    def uploads(self) -> Path:
        return self.work / "uploads"

    def without_uploads(self, words: str) -> str:
        """Words in which a dropped file is called as its user called it."""
        return re.sub(re.escape(str(self.uploads)) + r"/[0-9a-f]{12}/", "", words)

    @property
    def results(self) -> Path:
        return self.work / "results"

    @property
    def session(self) -> Path:
        return self.work / "session.json"

    def report_of(self, job_id: str) -> Path:
        return self.work / "reports" / f"{self.jobs.record(job_id).id}.html"


def make_work_folder(work: Path) -> None:
    """Make the folder and those in it, their owner's alone. Raises OutputNotWritableError."""
    with writing_errors(work):
        work.parent.mkdir(parents=True, exist_ok=True)
        for path in (work, work / "uploads", work / "results", work / "reports"):
            make_private_folder(path)


def application(site: Site, token: str, hosts: list[str]) -> Guard:
    """The whole application under `/TOKEN/`, guarded."""
    routes = [
        Route("/", _answering(page, site)),
        Route("/static/{name}", _answering(static, site)),
        Route("/state", _answering(state, site)),
        Route("/session", _answering(save_session, site), methods=["PUT"]),
        Route("/files", _answering(files, site)),
        Route("/upload", _answering(upload, site), methods=["PUT"]),
        Route("/open", _answering(open_target, site), methods=["POST"]),
        Route("/frame", _answering(frame, site)),
        Route("/strip", _answering(strip, site)),
        Route("/thumbnail", _answering(thumbnail, site)),
        Route("/look", _answering(look, site), methods=["POST"]),
        Route("/look/{id}/{layer}", _answering(layer, site)),
        Route("/people", _answering(people, site)),
        Route("/people", _answering(assign, site), methods=["POST"]),
        Route("/people/find", _answering(find_people, site), methods=["POST"]),
        Route("/stop", _answering(stop, site), methods=["POST"]),
        Route("/command", _answering(command, site), methods=["POST"]),
        Route("/warm", _answering(warm, site), methods=["POST"]),
        Route("/jobs", _answering(jobs, site)),
        Route("/jobs", _answering(begin, site), methods=["POST"]),
        Route("/jobs/{id}", _answering(job, site)),
        Route("/jobs/{id}/picture", _answering(job_picture, site)),
        Route("/jobs/{id}/cancel", _answering(cancel, site), methods=["POST"]),
        Route("/jobs/{id}/resume", _answering(resume, site), methods=["POST"]),
        Route("/jobs/{id}/report", _answering(make_report, site), methods=["POST"]),
        Route("/jobs/{id}/report", _answering(report, site)),
        Route("/jobs/{id}/verify", _answering(verify, site), methods=["POST"]),
        Route("/jobs/{id}/download", _answering(download, site)),
        Route("/batch", _answering(batch, site)),
    ]
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), token, hosts)


def _answering(answer: Callable[[Site, Request], Awaitable[Response]], site: Site) -> Answer:
    """An answer whose errors are sentences."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(site, request)
        except VidswapError as error:
            status = next((s for kind, s in _STATUS if isinstance(error, kind)), 400)
            words = site.without_uploads(" ".join(str(error).split()))
            told = {"error": escaped(words), "exit_code": error.exit_code}
            return JSONResponse(told, status)
        except Exception as error:
            logger.error("%s: %s", type(error).__name__, error, exc_info=error)
            words = "a fault of vidswap's own; the terminal that it runs in says more"
            return JSONResponse({"error": words, "exit_code": 1}, 500)

    answered.__name__ = answer.__name__
    return answered


async def _asked(request: Request) -> dict[str, Any]:
    """A question in JSON, of bounded size. Raises BadOptionError."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BODY:
            raise BadOptionError(f"a question of more than {MOST_BODY} bytes is not read")
    try:
        given = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadOptionError(f"the question is no JSON ({error})") from error
    if not isinstance(given, dict):
        raise BadOptionError("the question is no JSON object")
    return given


def _number(text: object, name: str) -> int:
    if isinstance(text, bool) or not isinstance(text, str | int) or not str(text).isascii():
        raise BadOptionError(f"{name} must be a whole number")
    if not str(text).isdecimal() or len(str(text)) > 18:
        raise BadOptionError(f"{name} must be a whole number, 0 or more")
    return int(text)


# The page


async def page(site: Site, request: Request) -> Response:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    text = template.render(version=__version__, groups=fields())
    return Response(text, media_type="text/html; charset=utf-8")


async def static(site: Site, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return JSONResponse({"error": "no such file"}, 404)
    return FileResponse(HERE / "static" / name, media_type=_STATIC[name])


async def state(site: Site, request: Request) -> Response:
    """What a page that is opened needs to go on where the last one was left."""
    running = site.jobs.running
    target = str(site.target) if site.target is not None else None
    session: Any = None
    with suppress(OSError, ValueError, RecursionError):
        if site.session.stat().st_size <= MOST_BODY:
            session = json.loads(site.session.read_bytes())
    return JSONResponse(
        {
            "target": target,
            "session": session if isinstance(session, dict) else None,
            "running": running.record.id if running else None,
            "busy": site.swapper.busy_with,
            "doing": site.doing,
        }
    )


async def save_session(site: Site, request: Request) -> Response:
    """Keep what is chosen on the page for the next time."""
    given = await _asked(request)
    kept = {name: given.get(name) for name in ("sources", "target", "output", "options")}
    with writing_errors(site.session), open_private(site.session) as file:
        file.write(json.dumps(kept).encode())
    return JSONResponse({})


async def files(site: Site, request: Request) -> Response:
    """A listing of a folder."""
    listing = partial(site.roots.listing, request.query_params.get("path"))
    path, above, entries, is_all = await asyncio.to_thread(listing)
    told = [vars(entry) | {"shown": escaped(entry.name)} for entry in entries]
    return JSONResponse({"path": path, "above": above, "entries": told, "complete": is_all})


async def upload(site: Site, request: Request) -> Response:
    """Take a file that was dropped on the page."""
    name = request.query_params.get("name", "")
    stated = request.headers.get("content-length")
    length = None if stated is None else _number(stated, "Content-Length")
    path = await receive(request.stream(), name, length, site.uploads, site.max_upload)
    return JSONResponse({"path": str(path), "name": path.name})


# Frames


async def open_target(site: Site, request: Request) -> Response:
    """The facts of a target, and where its swap would go."""
    given = await _asked(request)
    path = site.roots.inside(given.get("path"))
    facts = await asyncio.to_thread(site.viewer.call, "open", path)
    is_dropped = path.is_relative_to(site.uploads)
    output = output_for(path, site.results if is_dropped else path.parent)
    return JSONResponse(facts | {"output": str(output)})


async def frame(site: Site, request: Request) -> Response:
    """A frame of a target: all its pixels as PNG, or quickly as a smaller JPEG."""
    query = request.query_params
    path, number = site.roots.inside(query.get("path")), _number(query.get("n"), "the frame")
    quick = query.get("quick") == "1"
    content = await asyncio.to_thread(site.viewer.call, "frame", path, number, quick)
    return Response(content, media_type="image/jpeg" if quick else "image/png")


async def strip(site: Site, request: Request) -> Response:
    path = site.roots.inside(request.query_params.get("path"))
    content = await asyncio.to_thread(site.viewer.call, "strip", path)
    return Response(content, media_type="image/jpeg")


async def thumbnail(site: Site, request: Request) -> Response:
    path = site.roots.inside(request.query_params.get("path"))
    content = await asyncio.to_thread(site.viewer.call, "thumbnail", path)
    return Response(content, media_type="image/jpeg")


async def look(site: Site, request: Request) -> Response:
    """Swap one frame; where a newer question came meanwhile, that one is answered instead."""
    given = await _asked(request)
    asked = request_of_page(given, site.roots, site.segment_frames)
    number = _number(given.get("number"), "the frame")
    if site.jobs.running is not None:
        raise BadOptionError("a swap is running; its frames are shown as they come")
    site.newest_look += 1
    mine = site.newest_look
    lead, encoded = given.get("lead") is True, given.get("encoded") is True

    def looked() -> Any:
        if mine != site.newest_look:
            return None
        return site.swapper.call(
            "look", asked, number, lead, encoded, site.roots, listen=site.listen
        )

    found = await asyncio.to_thread(looked)
    if found is None:
        return JSONResponse({"superseded": True})
    return JSONResponse(found)


async def layer(site: Site, request: Request) -> Response:
    """The frame of an earlier look, or what it was made of, as PNG."""
    identity, name = request.path_params["id"], request.path_params["layer"]
    content = await asyncio.to_thread(site.swapper.call, "layer", identity, name)
    if content is None:
        return JSONResponse({"error": "that picture is no longer kept"}, 404)
    return Response(content, media_type="image/png")


async def command(site: Site, request: Request) -> Response:
    """The command line that does what the page would."""
    asked = request_of_page(await _asked(request), site.roots, site.segment_frames)
    told = {"command": command_line(asked), "exists": asked.output.exists()}
    return JSONResponse(told | {"output": str(asked.output)})


async def warm(site: Site, request: Request) -> Response:
    """Load the nets while the user still chooses."""
    await _asked(request)
    if site.swapper.busy_with is None:
        await asyncio.to_thread(site.swapper.call, "warm", SwapOptions())
    return JSONResponse({})


# People


async def people(site: Site, request: Request) -> Response:
    """Who is in a cast folder, and whose face they get."""
    folder = site.roots.inside(request.query_params.get("path"))
    return JSONResponse(await asyncio.to_thread(site.viewer.call, "people", folder, site.roots))


async def assign(site: Site, request: Request) -> Response:
    """Give a person a source, or their own face back; answers as `people`."""
    given = await _asked(request)
    folder, person = site.roots.inside(given.get("cast")), given.get("person")
    source = None if given.get("source") is None else site.roots.inside(given["source"])
    if not isinstance(person, str):
        raise BadOptionError("a person is named by an id, such as p1")
    await asyncio.to_thread(site.viewer.call, "assign", folder, person, source, site.roots)
    return JSONResponse(await asyncio.to_thread(site.viewer.call, "people", folder, site.roots))


async def find_people(site: Site, request: Request) -> Response:
    """Look through a target for everybody in it; answers with the cast folder."""
    target = site.roots.inside((await _asked(request)).get("target"))
    if site.jobs.running is not None:
        raise BadOptionError("a swap is running; look for people after it")
    beside = site.results if target.is_relative_to(site.uploads) else target.parent
    find = partial(site.swapper.call, "find", target, beside, listen=site.listen)
    return JSONResponse({"folder": await asyncio.to_thread(find)})


async def stop(site: Site, request: Request) -> Response:
    """End a search for people or a report that is being made."""
    await _asked(request)
    if site.swapper.busy_with in ("find", "report"):
        site.swapper.cancel()
    return JSONResponse({})


# Jobs


async def jobs(site: Site, request: Request) -> Response:
    return JSONResponse({"jobs": await asyncio.to_thread(site.jobs.rows)})


async def begin(site: Site, request: Request) -> Response:
    asked = request_of_page(await _asked(request), site.roots, site.segment_frames)
    record = await asyncio.to_thread(site.jobs.begin, asked)
    return JSONResponse({"id": record.id})


async def job(site: Site, request: Request) -> Response:
    told = await asyncio.to_thread(site.jobs.told, request.path_params["id"])
    told["report"] = site.report_of(told["id"]).exists()
    return JSONResponse(told)


async def job_picture(site: Site, request: Request) -> Response:
    running = site.jobs.running
    if running is None or running.record.id != request.path_params["id"] or not running.picture:
        return JSONResponse({"error": "no picture yet"}, 404)
    return Response(running.picture, media_type="image/jpeg")


async def cancel(site: Site, request: Request) -> Response:
    site.jobs.cancel(request.path_params["id"])
    return JSONResponse({})


async def resume(site: Site, request: Request) -> Response:
    before = site.jobs.record(request.path_params["id"]).swap()
    files = [*before.sources, before.target, before.output]
    for path in files + ([before.options.cast] if before.options.cast else []):
        site.roots.inside(str(path))
    record = await asyncio.to_thread(site.jobs.begin, before)
    return JSONResponse({"id": record.id})


async def make_report(site: Site, request: Request) -> Response:
    """Measure a swap that is done; the page of it is then at the same address."""
    from vidswap.report.html import write_text

    path = site.report_of(request.path_params["id"])
    asked = _finished(site, request)
    if site.jobs.running is not None:
        raise BadOptionError("a swap is running; the report can be made after it")
    text = await asyncio.to_thread(partial(site.swapper.call, "report", asked, listen=site.listen))
    await asyncio.to_thread(write_text, text, path)
    return JSONResponse({})


async def report(site: Site, request: Request) -> Response:
    path = site.report_of(request.path_params["id"])
    if not path.is_file():
        return JSONResponse({"error": "no report has been made of it"}, 404)
    headers = {"Content-Security-Policy": REPORT_POLICY}
    if request.query_params.get("download"):
        name = f"{Path(_finished(site, request).output).stem}-report.html"
        headers["Content-Disposition"] = _attachment(name)
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


async def verify(site: Site, request: Request) -> Response:
    output = _finished(site, request).output
    return JSONResponse(await asyncio.to_thread(site.viewer.call, "verify", output))


async def download(site: Site, request: Request) -> Response:
    output = _finished(site, request).output
    kind = mimetypes.guess_type(output.name)[0] or "application/octet-stream"
    headers = {"Content-Disposition": _attachment(output.name)}
    return FileResponse(output, media_type=kind, headers=headers)


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _finished(site: Site, request: Request) -> Any:
    """The request of a job that is done. Raises InputNotFoundError, OutsideError."""
    record = site.jobs.record(request.path_params["id"])
    if record.state != "done":
        raise InputNotFoundError("that swap is not finished")
    asked = record.swap()
    output = site.roots.inside(str(asked.output))
    if not output.is_file():
        raise InputNotFoundError(f"{output} is no longer there")
    return asked


async def batch(site: Site, request: Request) -> Response:
    """The jobs of a manifest, or of its state folder, as `vidswap batch status` tells them."""
    path = site.roots.inside(request.query_params.get("path"))
    folder = path if path.is_dir() else site.roots.inside(str(state_folder_of(path)))
    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such state folder; begin with vidswap batch run")
    found = await asyncio.to_thread(status_in, folder)
    if not found:
        raise NotAVideoError(f"{folder} holds no job of vidswap batch")
    rows = [row(status) for status in found[:MOST_SHOWN]]
    return JSONResponse({"folder": str(folder), "counts": counts_of(found), "jobs": rows})
