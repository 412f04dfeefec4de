"""Manifests: the same jobs both ways, and the line of everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidswap.batch.manifest import read_manifest, written_csv, written_jsonl
from vidswap.errors import ManifestError
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

REQUESTS = [
    SwapRequest.of(["a b.jpg", "more"], "t,1.mp4", "o1.mp4", SwapOptions(k_shot=3, start=0.5)),
    SwapRequest.of(["[odd].jpg"], 'quoted".mov', "o2.mov", SwapOptions(match_bitrate=True)),
    SwapRequest.of(["x.jpg"], "t.mp4", "o3.mp4", SwapOptions(max_memory=10**9, face=Path("p.png"))),
    SwapRequest.of(["x.jpg"], "t\nwith a line.mp4", "o4.mp4", SwapOptions(crf=None, resume=False)),
]


def test_jobs_survive_json_lines_and_csv(tmp_path: Path) -> None:
    for name, written in (("jobs.jsonl", written_jsonl), ("jobs.csv", written_csv)):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in written(REQUESTS)))
        assert [job.request for job in read_manifest(path)] == REQUESTS, name


def test_options_at_their_default_are_not_written() -> None:
    (line,) = written_jsonl([SwapRequest.of(["a"], "t.mp4", "o.mp4")])
    assert json.loads(line) == {"sources": ["a"], "target": "t.mp4", "output": "o.mp4"}


def test_a_spreadsheet_may_name_options_by_their_flags(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(
        "target,output,sources,k-shot,Overwrite,crf\n".lower()
        + 't.mp4,o.mp4,a.jpg,4,yes,\nt.mp4,p.mp4,"[""a"",""b""]",,,20\n\n,,,,,\n'
    )
    first, second = (job.request for job in read_manifest(path))
    assert first.options == SwapOptions(k_shot=4, overwrite=True)
    assert second.sources == (Path("a"), Path("b")) and second.options.crf == 20


LAYERS = '{"sources": ["a"], "target": "t", "output": "o.mp4", "options": {"layers": "lay"}}'
GOOD = '{"sources": ["a"], "target": "t.mp4", "output": "o.mp4"}'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("j.jsonl", f"{GOOD}\n\n{{", "line 3: a swap request is no JSON"),
        ("j.jsonl", f"{GOOD}\n{GOOD}", "line 2: the output o.mp4 is that of line 1 too"),
        ("j.jsonl", GOOD + "\n" + GOOD.replace('"o.mp4"', '"./x/../o.mp4"'), "line 2: the output"),
        ("j.jsonl", GOOD.replace("t.mp4", "o2.mp4") + "\n" + GOOD.replace('"o.mp4"', '"o2.mp4"'),
         "line 1: o2.mp4 is the output of line 2"),
        ("j.jsonl", GOOD.replace('["a"]', "[]"), "line 1: 'sources'"),
        ("j.jsonl", LAYERS + "\n" + LAYERS.replace('"o.mp4"', '"p.mp4"'), "line 2: the output lay"),
        ("j.jsonl", GOOD.replace('"t.mp4"', '""'), "line 1: 'target'"),
        ("j.jsonl", "\n\n", "names no job"),
        ("j.jsonl", "\xff\xfe", "line 1"),
        ("j.csv", "sources,target,output\na,t.mp4\n", "line 2: not 3 cells"),
        ("j.csv", "sources,target,output,size\n", 'line 1: "size" is no column'),
        ("j.csv", "sources,target,output,k_shot\na,t,o,many\n", "line 2: option k_shot"),
        ("j.csv", "sources,target,output\n[a,t,o\n", "line 2: sources"),
        ("j.csv", 'sources,target,output\n"a"b,t,o\n', "line 2: not CSV"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert told in str(caught.value)


def test_many_errors_are_told_at_once_but_not_all(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text("{\n" * 100)
    with pytest.raises(ManifestError, match=r"line 20: .*; and 80 more$"):
        read_manifest(path)


def test_an_absent_manifest_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="name a manifest"):
        read_manifest(tmp_path / "absent.jsonl")


def test_a_job_is_known_by_its_output_wherever_its_row_stands(tmp_path: Path) -> None:
    lines = list(written_jsonl(REQUESTS))
    ids = []
    for order in (lines, lines[::-1]):
        path = tmp_path / "jobs.jsonl"
        path.write_text("\n".join(order))
        ids.append({job.id for job in read_manifest(path)})
    assert ids[0] == ids[1] and len(ids[0]) == len(REQUESTS)
