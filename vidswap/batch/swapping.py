"""What a worker process of a batch does with a request: a swap, with its facts and hashes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vidswap.batch.facts import KnownHashes, facts_of_job, output_facts
from vidswap.batch.worker_process import Report, Runner
from vidswap.media.output import writing_errors
from vidswap.swap.options import SwapCounts
from vidswap.swap.request import SwapRequest


@contextmanager
def swaps() -> Iterator[Runner]:
    """A runner that swaps, and keeps its nets from job to job."""
    from vidswap.faces.system_libraries import check_system_libraries
    from vidswap.media.probing import expected_frames
    from vidswap.swap.job import check_inputs
    from vidswap.swap.worker import Worker

    check_system_libraries()
    hashes = KnownHashes()
    with Worker() as worker:

        def run(request: SwapRequest, report: Report) -> dict[str, Any]:
            output, options = request.output, request.options
            check_inputs(request.sources, request.target, output, options)
            with writing_errors(output):
                output.parent.mkdir(parents=True, exist_ok=True)
            facts = facts_of_job(request, hashes)
            expected = expected_frames(request.target, options.start, options.end)

            def progress(counts: SwapCounts) -> None:
                report(counts.frames, expected)

            result = worker.run(request, progress)
            return {"result": result.to_dict() | {"file": output_facts(output)}, "facts": facts}

        yield run
