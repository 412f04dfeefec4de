"""What the server's two processes do: one looks into files, the other swaps and holds the nets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidswap.errors import JobCancelledError, NotAVideoError
from vidswap.swap.request import SwapRequest
from vidswap.web.engine import Commands, Listen
from vidswap.web.roots import Roots

PROGRESS_SECONDS = 0.25  # between two words of progress
PICTURE_SECONDS = 0.5  # between two frames that are shown of a run
_WIDEST_SHOWN = 960  # pixels of a frame of a run


def viewing(say: Listen, is_cancelled: Callable[[], bool]) -> Commands:
    """Commands that need no net, so that files can be looked at while a swap runs."""
    from vidswap.web.frames import Target, as_jpeg, as_png, file_version, thumbnail
    from vidswap.web.kept import Kept

    targets = Kept(2)

    def target(path: Path) -> Target:
        return targets.get(file_version(path), lambda: Target(path))

    def frame(path: Path, number: int, quick: bool) -> bytes:
        picture = target(path).frame(number).rgb
        return as_jpeg(picture, _WIDEST_SHOWN) if quick else as_png(picture)

    def verify(path: Path) -> dict[str, Any]:
        from vidswap.provenance.verify import verification_as_text, verify_file

        found = verify_file(path)
        return {"verdict": found.verdict, "text": verification_as_text(found)}

    def check(request: SwapRequest, roots: Roots) -> None:
        from vidswap.swap.job import check_paths

        _check_cast(request, roots)
        check_paths(list(request.sources), request.target, request.output, request.options)

    def people(folder: Path, roots: Roots) -> dict[str, Any]:
        from vidswap.web.people import people_of

        return people_of(folder, roots)

    def assign(folder: Path, person: str, source: Path | None, roots: Roots) -> None:
        from vidswap.web.people import assign_source

        assign_source(folder, person, source, roots)

    return {
        "check": check,
        "people": people,
        "assign": assign,
        "open": lambda path: target(path).facts(),
        "frame": frame,
        "strip": lambda path: as_jpeg(target(path).strip()),
        "thumbnail": thumbnail,
        "verify": verify,
    }


def swapping(say: Listen, is_cancelled: Callable[[], bool]) -> Commands:
    """Commands that need the nets, which stay loaded from one to the next."""
    from vidswap.faces.system_libraries import check_system_libraries

    check_system_libraries()
    from vidswap.media.probing import expected_frames
    from vidswap.swap.faces import SwappedFrame
    from vidswap.swap.options import SwapCounts, SwapOptions
    from vidswap.swap.worker import Worker
    from vidswap.web.frames import as_jpeg
    from vidswap.web.looking import Looker

    worker = Worker()
    looker = Looker(worker)

    def warm(options: SwapOptions) -> None:
        worker.nets(options)

    def look(
        request: SwapRequest, number: int, lead: bool, encoded: bool, roots: Roots
    ) -> dict[str, Any]:
        _check_cast(request, roots)

        def tell(words: str) -> None:
            say({"doing": words})

        return looker.look(request, number, lead=lead, encoded=encoded, tell=tell)

    def find(target: Path, beside: Path) -> str:
        from vidswap.people.embedding import FaceEmbedder
        from vidswap.swap.first_pass import find_people
        from vidswap.web.people import cast_folder_for

        folder, is_there = cast_folder_for(target, beside)
        if is_there:
            return str(folder)
        say({"doing": "loading the nets"})

        def progress(done: int, expected: int) -> None:
            if is_cancelled():
                raise JobCancelledError("cancelled; finding the people again goes on")
            say({"frames": done, "expected": expected})

        embedder = FaceEmbedder.of(worker.nets(SwapOptions()))
        find_people(target, folder, embedder=embedder, progress=progress)
        return str(folder)

    def run(request: SwapRequest) -> dict[str, Any]:
        options = request.options
        say({"doing": "reading the source"})
        expected = expected_frames(request.target, options.start, options.end)
        last = shown = 0.0

        def progress(counts: SwapCounts) -> None:
            nonlocal last
            if is_cancelled():
                raise JobCancelledError("cancelled; Resume goes on from the last whole segment")
            now = time.monotonic()
            if now - last >= PROGRESS_SECONDS:
                last = now
                say({"frames": counts.frames, "expected": expected})

        def watch(item: SwappedFrame) -> None:
            nonlocal shown
            if time.monotonic() - shown >= PICTURE_SECONDS:
                shown = time.monotonic()
                say({"picture": as_jpeg(item.frame.rgb, _WIDEST_SHOWN)})

        result = worker.run(request, progress, watch)
        return {"result": result.to_dict(), "expected": expected}

    def report(request: SwapRequest) -> str:
        from contextlib import closing

        from vidswap.media.picture import is_picture
        from vidswap.report.cast import measure_cast
        from vidswap.report.cast_page import cast_html
        from vidswap.report.measure import ReportOptions, load_report_nets, measure_clip
        from vidswap.report.page import page_html
        from vidswap.swap.cast import plan_of

        if is_picture(request.target):
            raise NotAVideoError("a report measures clips; compare a picture with the slider")
        options = ReportOptions.of_swap(request.options)
        plan = plan_of(request.target, request.sources, request.options)

        def progress(done: int, expected: int) -> None:
            if is_cancelled():
                raise JobCancelledError("cancelled; nothing was written")
            say({"frames": done, "expected": expected})

        with closing(load_report_nets(options)) as nets:
            if plan is not None:
                return cast_html(
                    measure_cast(request.target, request.output, plan, options, progress, nets)
                )
            found = measure_clip(
                request.target, request.output, request.sources, options, progress, nets
            )
        return page_html(found)

    return {
        "warm": warm, "look": look, "layer": looker.layer, "find": find, "run": run,
        "report": report,
    }  # fmt: skip


def _check_cast(request: SwapRequest, roots: Roots) -> None:
    """Refuse a cast whose plan names files outside. Raises CastError, OutsideError."""
    if isinstance(request.options.cast, Path):
        from vidswap.web.people import plan_within

        plan_within(request.options.cast, roots)
