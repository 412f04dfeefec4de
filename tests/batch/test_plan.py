"""Which jobs folders give, and which rows are refused before any work."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.media.clips import make_clip
from vidswap.batch.estimate import estimate, estimate_as_text
from vidswap.batch.plan import output_of, paired, plan_jobs, targets_of
from vidswap.commands.main import main
from vidswap.errors import BadOptionError, InputNotFoundError
from vidswap.swap.options import SwapOptions


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def vidswap(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_patterns_go_into_folders_and_name_each_file_once(tmp_path: Path) -> None:
    one, two, three = files(tmp_path, "a.mov", "x/b.mov", "x/y/c.mov")
    assert targets_of([f"{tmp_path}/**/*.mov", str(one)]) == [one, two, three]
    (odd,) = files(tmp_path, "[1].mov")
    assert targets_of([str(odd)]) == [odd]  # a name, though it looks like a pattern
    with pytest.raises(InputNotFoundError, match=r"\*.mp4"):
        targets_of([f"{tmp_path}/*.mp4"])


def test_pairs(tmp_path: Path) -> None:
    a, b = files(tmp_path, "s/alice.jpg", "s/bob.png")
    t, u = files(tmp_path, "t/alice.mov", "t/bob.mov")
    assert paired([a, b], [t, u], "product") == [
        ((a,), t), ((b,), t), ((a,), u), ((b,), u)
    ]  # fmt: skip
    assert paired([a, b], [u, t], "zip") == [((a,), u), ((b,), t)]
    assert paired([b, a], [t, u], "same-name") == [((a,), t), ((b,), u)]
    assert paired([tmp_path / "s"], [t, u], "same-name") == [((a,), t), ((b,), u)]
    with pytest.raises(BadOptionError, match="2 sources and 1 targets"):
        paired([a, b], [t], "zip")
    (lone,) = files(tmp_path, "t/carol.mov")
    with pytest.raises(BadOptionError, match=r"carol\.mov"):
        paired([a, b], [t, lone], "same-name")


def test_casts_are_given_by_name_and_name_their_sources_themselves(tmp_path: Path) -> None:
    files(tmp_path, "casts/sc01/people.toml", "casts/sc02/people.toml", "sc01.mov", "sc02.mov")
    found = plan_jobs(
        [tmp_path / "casts"], [f"{tmp_path}/*.mov"], f"{tmp_path}/o/{{target}}_{{source}}.mov",
        "cast",
    )  # fmt: skip
    requests = [job.request for job in found.jobs]
    assert [request.options.cast for request in requests] == [
        tmp_path / "casts" / "sc01", tmp_path / "casts" / "sc02"
    ]  # fmt: skip
    assert all(request.sources == () for request in requests)
    assert requests[0].output.name == "sc01_sc01.mov"
    assert len(found.errors) == 2  # these are no casts


def test_output_names(tmp_path: Path) -> None:
    (target,) = files(tmp_path, "reel/shot.v2.mov")
    folder = tmp_path / "alice.smith"
    folder.mkdir()
    template = "out/{parent}/{n:03d}_{target}__{source}{ext}"
    assert output_of(template, (folder,), target, 7) == Path(
        "out/reel/007_shot.v2__alice.smith.mov"
    )
    for wrong in ("{name}", "{target", "{}", "{target.parent}", "{n:x.mp4}", "{target!r}"):
        with pytest.raises(BadOptionError, match="-o"):
            output_of(wrong, (folder,), target, 1)


def test_a_thousand_rows_are_planned_in_seconds(
    tmp_path: Path, target_clip: Path, source_picture: Path
) -> None:
    for n in range(25):
        (tmp_path / f"t{n}.mp4").hardlink_to(target_clip)
    for n in range(40):
        shutil.copyfile(source_picture, tmp_path / f"s{n}.png")
    sources = [tmp_path / f"s{n}.png" for n in range(40)]
    began = time.monotonic()
    plan = plan_jobs(sources, [f"{tmp_path}/*.mp4"], f"{tmp_path}/o/{{target}}_{{source}}{{ext}}")
    assert time.monotonic() - began < 10
    assert len(plan.jobs) == 1000 and not plan.errors


def test_rows_that_cannot_be_are_named_and_nothing_is_printed(
    tmp_path: Path, target_clip: Path, source_picture: Path
) -> None:
    (text,) = files(tmp_path, "notes.mp4")
    text.write_text("no clip")
    shutil.copyfile(target_clip, tmp_path / "a.mp4")
    shutil.copyfile(target_clip, tmp_path / "b.mp4")
    (tmp_path / "b.mkv").touch()
    result = vidswap(
        "batch", "plan", source_picture, "--targets", tmp_path / "a.mp4", "--targets",
        tmp_path / "b.mp4", "--targets", text, "--targets", tmp_path / "absent.mp4",
        "-o", f"{tmp_path}/{{target}}.mkv",
    )  # fmt: skip
    assert result.exit_code == 40 and not result.stdout
    assert "line 2: " in result.stderr and "b.mkv exists" in result.stderr
    assert "line 3: " in result.stderr and "line 4: " in result.stderr
    assert "line 1: " not in result.stderr
    same = vidswap("batch", "plan", source_picture, "--targets", f"{tmp_path}/*.mp4", "-o", "o.mp4")
    assert same.exit_code == 40 and "is that of line 1 too" in same.stderr


def test_existing_outputs_can_be_left_out(
    tmp_path: Path, target_clip: Path, source_picture: Path
) -> None:
    for name in ("a.mp4", "b.mp4", "b.mkv"):
        shutil.copyfile(target_clip, tmp_path / name)
    result = vidswap(
        "batch", "plan", source_picture, "--targets", f"{tmp_path}/*.mp4",
        "-o", f"{tmp_path}/{{target}}.mkv", "--skip-existing", "--k-shot", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert row["target"].endswith("a.mp4") and row["options"] == {"k_shot": 3}


def test_dry_run_sums_the_plans_of_all_clips(
    tmp_path: Path, source_picture: Path, untrained: Path
) -> None:
    for name, pixel_format in (("plain", "yuv420p"), ("deep", "yuv420p10le")):
        make_clip(tmp_path / f"{name}.mkv", frames=4, codec="ffv1", pixel_format=pixel_format)
    options = SwapOptions(checkpoint=untrained, codec="vp9")
    output = f"{tmp_path}/made/{{target}}.webm"
    plan = plan_jobs([source_picture], [f"{tmp_path}/*.mkv"], output, options=options)
    sums = estimate(plan.jobs)
    told = json.loads(json.dumps(sums.to_dict()))
    assert (told["jobs"], told["frames"]) == (2, 8)
    parts = [each["estimate"] for each in told["plans"]]
    assert told["seconds"] == pytest.approx(sum(part["seconds"] for part in parts))
    assert told["bytes"] == sum(part["bytes"] for part in parts)
    assert told["lost"] == {"10 bits a sample (the encoder takes 8)": 1}
    assert all("no face" in words for words in told["warnings"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep.mkv", "plain.mkv"]
    text = estimate_as_text(sums)
    assert "jobs      2, 8 frames" in text and "1 of 2: 10 bits" in text


def test_absolute_paths_are_for_hosts_with_another_working_folder(
    tmp_path: Path, target_clip: Path, source_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target_clip.parent)
    plan = plan_jobs(
        [Path(source_picture.name)], [target_clip.name], "o{ext}", options=SwapOptions(),
        absolute=True,
    )  # fmt: skip
    (job,) = plan.jobs
    assert job.request.target == target_clip
    assert job.request.output == target_clip.parent / "o.mp4"


def test_a_shot_list_makes_a_job_of_each_row(
    tmp_path: Path, source_picture: Path, target_clip: Path
) -> None:
    shutil.copyfile(target_clip, tmp_path / "film.mp4")
    shots = tmp_path / "edit.csv"
    shots.write_text(
        f"in,out,source,mask\n0,0.2,{source_picture},outline\n00:00:00:05,00:00:00:10,,\n"
    )
    wanted = ("batch", "plan", "--shots", shots, "--targets", tmp_path / "film.mp4", "-o",
              f"{tmp_path}/out/{{target}}.{{n:02d}}{{ext}}")  # fmt: skip
    refused = vidswap(*wanted)
    assert refused.exit_code == 2 and "line 3 has no source" in refused.output
    planned = vidswap(*wanted, source_picture)
    assert planned.exit_code == 0, planned.output
    one, two = (json.loads(line) for line in planned.output.splitlines())
    assert one["options"] == {"start": 0.0, "end": 0.2, "mask": "outline"}
    assert one["output"].endswith("film.01.mp4") and one["sources"] == [str(source_picture)]
    assert two["options"] == {"start": 0.18, "end": 0.38}  # 25 frames a second, by the clip
    shots.write_text("in,out,person,source\n0,1,p1,keep\n")
    refused = vidswap(*wanted)
    assert refused.exit_code == 2 and "vidswap people CAST --shots LIST" in refused.output
    assert vidswap("batch", "plan", *wanted[4:]).exit_code == 2
