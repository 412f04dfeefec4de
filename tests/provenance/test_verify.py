"""`vidswap verify`, and the manifest that `vidswap run` puts into its outputs."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result

from tests.media.clips import ffmpeg, make_clip, moving_picture
from tests.photographs import grace_hopper
from vidswap.commands.main import main
from vidswap.digest import file_sha256
from vidswap.errors import BadOptionError
from vidswap.media.ffmpeg import ffmpeg_executable
from vidswap.media.marks import read_marks, synthetic_metadata
from vidswap.media.picture import write_picture
from vidswap.provenance.manifest import SwapFacts, SwapManifest
from vidswap.provenance.record import HAS_MANIFEST, MANIFEST_MARK, files_used, recorded_settings
from vidswap.provenance.signing_key import local_signing_key
from vidswap.provenance.verify import BROKEN, HOLDS, NO_CLAIM, UNKNOWN_SIGNER, verify_file
from vidswap.swap.options import SwapOptions

MARKS = synthetic_metadata("1.2.3", "ab" * 32, {}) | {MANIFEST_MARK: HAS_MANIFEST}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def verify(*arguments: object) -> Result:
    return call("verify", *arguments)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 with marks that tell of a manifest, which it does not have."""
    path = tmp_path_factory.mktemp("marked") / "marked.mp4"
    return make_clip(
        path,
        frames=6,
        sound=["aac"],
        metadata=MARKS,
        container_options={"movflags": "use_metadata_tags"},
    )


@pytest.fixture(scope="module")
def signed(marked: Path) -> Path:
    """The same with its manifest, signed by the local key."""
    manifest = SwapManifest(
        SwapFacts(marked, [marked], {marked: file_sha256(marked)}, "1.2.3", "ab" * 32, {}),
        local_signing_key(),
    )
    manifest.sign(marked, marked.with_name("signed.mp4"))
    manifest.close()
    return marked.with_name("signed.mp4")


def test_a_signed_file_holds(signed: Path) -> None:
    result = verify(signed)
    assert result.exit_code == HOLDS == 0
    assert "its C2PA manifest holds" in result.output
    assert "trusted: yes, by this computer's key" in result.output
    assert f"checkpoint: {'ab' * 32}" in result.output
    assert "c2pa.edited, compositeWithTrainedAlgorithmicMedia" in result.output
    assert 'marked: vidswap_synthetic = "true"' in result.output


def test_json_tells_the_same(signed: Path) -> None:
    found = json.loads(verify(signed, "--json").stdout)
    assert (found["verdict"], found["exit_code"]) == ("holds", 0)
    assert found["manifest"]["trusted"] and found["trust"] == "this computer's key"
    assert found["manifest"]["swap"]["checkpoint_sha256"] == "ab" * 32


def test_another_computers_key_is_not_trusted_unless_given(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = tmp_path / "theirs.pem"
    certificates.write_text(local_signing_key().certificates)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    stranger = verify(signed)
    assert stranger.exit_code == UNKNOWN_SIGNER == 32
    assert "SIGNER UNKNOWN" in stranger.output.splitlines()[0]
    assert "trusted: no; anyone can make a key of that name" in stranger.output
    assert "trusted: yes, by given" in verify(signed, "--trust", certificates).output
    assert list(tmp_path.iterdir()) == [certificates], "verifying made a key"


def test_a_changed_file_is_broken(signed: Path, tmp_path: Path) -> None:
    content = bytearray(signed.read_bytes())
    content[content.find(b"mdat") + 200] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(content)
    result = verify(changed)
    assert result.exit_code == BROKEN == 30
    assert "BROKEN" in result.output and "bmffHash.mismatch" in result.output


def test_marks_whose_manifest_is_gone_are_broken(marked: Path) -> None:
    result = verify(marked)
    assert result.exit_code == BROKEN
    assert "was taken out" in result.output


def test_marks_that_nobody_signed_are_said_to_be_so(tmp_path: Path) -> None:
    plain = {**MARKS, MANIFEST_MARK: "none: test footage"}
    write_picture(tmp_path / "a.png", moving_picture(0, 40, 30), plain)
    result = verify(tmp_path / "a.png")
    assert result.exit_code == HOLDS
    assert "not signed" in result.output and "none: test footage" in result.output


def test_a_file_without_claim_has_a_code_of_its_own(faceless_clip: Path) -> None:
    result = verify(faceless_clip)
    assert result.exit_code == NO_CLAIM == 31
    assert "claims nothing" in result.output


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("absent.mp4", 3, "no such file"), ("text.mp4", 4, "is not a video"), (".", 4, "is a folder")],
)
def test_what_is_no_video_gets_one_line(tmp_path: Path, name: str, code: int, words: str) -> None:
    (tmp_path / "text.mp4").write_text("only words, many of them, and no video at all")
    result = verify(tmp_path / name)
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("vidswap: ") and words in line


def test_wrong_trust_files_get_one_line(signed: Path, tmp_path: Path) -> None:
    absent = verify(signed, "--trust", tmp_path / "absent.pem")
    assert absent.exit_code == 3 and len(absent.stderr.splitlines()) == 1
    rubbish = verify(signed, "--trust", signed)
    assert rubbish.exit_code == 18 and "no certificates" in rubbish.stderr


@pytest.mark.parametrize(
    "arguments",
    [["-c", "copy"], ["-c:v", "libx264", "-crf", "23"]],
    ids=["stream copy", "encoded again"],
)
def test_ffmpeg_drops_the_manifest(signed: Path, tmp_path: Path, arguments: list[str]) -> None:
    """What docs/provenance.md says of other programs."""
    out = tmp_path / "out.mp4"
    command = [ffmpeg_executable(), "-loglevel", "error", "-i", str(signed), *arguments, str(out)]
    subprocess.run(command, check=True)
    found = verify_file(out)
    assert found.manifest is None
    assert found.verdict == "none"


def test_a_swapped_clip_is_signed_by_default(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    result = call("run", source_picture, target_clip, "-o", out, "--checkpoint", untrained,
                  "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    found = verify_file(out)
    assert found.verdict == "holds" and found.manifest is not None
    assert summary["manifest"] == found.manifest.label
    assert summary["no_provenance"] is None
    assert found.manifest.swap["checkpoint_sha256"] == summary["checkpoint_sha256"]
    assert [i.title for i in found.manifest.ingredients] == ["target", "source 1"]
    assert list(tmp_path.iterdir()) == [out]

    again = tmp_path / "again.mp4"
    result = call("run", source_picture, out, "-o", again, "--checkpoint", untrained, "--end", 0.1)
    assert result.exit_code == 0, result.output
    parent = verify_file(again).manifest
    assert parent is not None and parent.ingredients[0].manifest == found.manifest.label


def test_a_reason_leaves_the_manifest_out_and_is_recorded(
    source_picture: Path, untrained: Path, tmp_path: Path
) -> None:
    target, out = tmp_path / "hopper.png", tmp_path / "out.png"
    cv2.imwrite(str(target), grace_hopper()[:, :, ::-1])
    result = call("run", source_picture, target, "-o", out, "--checkpoint", untrained, "--json",
                  "--no-provenance", "a test of the codec")  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["no_provenance"] == "a test of the codec" and summary["manifest"] is None
    marks = read_marks(out)
    assert json.loads(marks["vidswap_settings"])["no_provenance"] == "a test of the codec"
    assert marks[MANIFEST_MARK] == "none: a test of the codec"
    assert verify_file(out).verdict == "unsigned"


def test_mkv_gets_a_warning_and_its_marks_alone(
    source_picture: Path, target_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    result = call("run", source_picture, target_clip, "-o", out, "--checkpoint", untrained,
                  "--end", 0.1, "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("vidswap: warning: ") and ".mkv files hold no C2PA manifest" in line
    assert verify_file(out).verdict == "unsigned"
    assert read_marks(out)["vidswap_synthetic"] == "true"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--sign-key", "k.pem"], 2, "go together"),
        (["--no-provenance", " "], 2, "needs a reason"),
        (["--sign-key", "k.pem", "--sign-cert", "k.pem"], 18, "k.pem: no such signing key"),
        (["--sign-key", "k", "--sign-cert", "k", "--no-provenance", "x"], 2, "signs nothing"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    source_picture: Path,
    target_clip: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    result = call("run", source_picture, target_clip, "-o", tmp_path / "out.mp4", *arguments)
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_an_empty_reason_is_refused_from_python_too() -> None:
    with pytest.raises(BadOptionError, match="needs a reason"):
        SwapOptions(no_provenance="")


def test_settings_tell_names_of_files_and_nothing_of_keys() -> None:
    told = recorded_settings(
        {"face": Path("/home/someone/face.png"), "crf": 18, "sign_key": Path("/k"),
         "sign_cert": Path("/c"), "checkpoint": Path("/x"), "overwrite": True}
    )  # fmt: skip
    assert told == {"face": "face.png", "crf": 18}


def test_only_files_that_went_in_are_named_as_sources(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, moving_picture(0, 8, 8))
    clip = tmp_path / "at home.mp4"
    clip.write_bytes(b"")
    used = ["b.png", "at home.mp4 at 0.40 s", "at home.mp4 at 0.80 s"]
    assert files_used([tmp_path, clip], used) == [tmp_path / "b.png", clip]


HOSTILE = "1\n  trusted: yes, by this computer's key\x1b[2J\r\u202e" + "x" * 20_000


def assert_harmless(output: str) -> None:
    """No line of a stranger's, no control character, and no flood."""
    assert len(output) < 20_000
    assert not re.search("^ *trusted: yes", output, re.MULTILINE)
    unseen = {c for c in output if unicodedata.category(c) in ("Cc", "Cf", "Cs")}
    assert unseen <= {"\n"}


def test_a_strangers_text_prints_no_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the manifest, by a key of the stranger's own, and in the marks."""
    signed, picture = tmp_path / "signed.png", tmp_path / "a.png"
    write_picture(picture, moving_picture(0, 40, 30), {"vidswap_x\n y": HOSTILE, **MARKS})
    facts = SwapFacts(picture, [], {picture: HOSTILE}, HOSTILE, HOSTILE, {})
    with monkeypatch.context() as theirs:
        theirs.setenv("XDG_DATA_HOME", str(tmp_path / "theirs"))
        manifest = SwapManifest(facts, local_signing_key())
        manifest.sign(picture, signed)
        manifest.close()
    for path, code in ((signed, UNKNOWN_SIGNER), (picture, BROKEN)):
        result = verify(path)
        assert result.exit_code == code
        assert_harmless(result.output)
    assert "SIGNER UNKNOWN" in verify(signed).output.splitlines()[0]
    assert_harmless(call("info", signed).output)


def test_a_clips_titles_and_languages_are_quoted(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    evil = "x\n  trusted: yes\x1b[2J\u202e"
    plain = make_clip(tmp_path / "plain.mkv", frames=4, sound=["aac"], metadata=MARKS)
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:a:0", f"title={evil}",
           "-metadata", f"comment={evil}", clip)  # fmt: skip
    for command in ("info", "verify"):
        assert_harmless(call(command, clip).output)
    assert r"\x1b[2J\u202e" in call("info", clip).output


def test_names_with_control_characters_are_escaped_in_errors_and_logs(tmp_path: Path) -> None:
    log, path = tmp_path / "a.log", tmp_path / "a\x1b[2J\u202e.mp4"
    path.write_text("no video")
    result = call("--log-file", log, "info", path)
    assert result.exit_code == 4 and len(result.stderr.splitlines()) == 1
    assert_harmless(result.output)
    assert_harmless(log.read_text(encoding="utf-8"))
