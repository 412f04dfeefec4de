"""The C2PA manifest in an output: what it says, that streams stay, that changes are noticed."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from tests.media.clips import make_clip, moving_picture
from vidswap.digest import file_sha256
from vidswap.errors import DiskFullError, SigningKeyError
from vidswap.media.picture import read_picture, read_picture_metadata, write_picture
from vidswap.provenance.manifest import SwapFacts, SwapManifest, check_signing, media_type
from vidswap.provenance.reading import ManifestClaim, read_manifest
from vidswap.provenance.signing_key import (
    SigningKey,
    load_signing_key,
    local_signing_key,
    local_trust_anchor,
)

CHECKPOINT = "ab" * 32
MARKS = {"vidswap_synthetic": "true"}


@pytest.fixture(scope="module")
def local_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return local_signing_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target clip, two sources, and the encoded result that is to be signed."""
    folder = tmp_path_factory.mktemp("files")
    make_clip(folder / "target.mp4", frames=6)
    make_clip(folder / "result.mp4", frames=30, b_frames=2, sound=["aac"], metadata=MARKS)
    write_picture(folder / "a.jpg", moving_picture(0, 40, 30))
    write_picture(folder / "b.png", moving_picture(9, 40, 30))
    return folder


@pytest.fixture
def signed(files: Path, local_key: SigningKey, tmp_path: Path) -> Callable[..., Path]:
    """Function that signs the result, or another file, under a name."""

    def sign(
        name: str = "out.mp4",
        unsigned: Path | None = None,
        target: Path | None = None,
        key: SigningKey = local_key,
        swapped: bool = True,
    ) -> Path:
        target, sources = target or files / "target.mp4", [files / "a.jpg", files / "b.png"]
        facts = SwapFacts(
            target, sources, {path: file_sha256(path) for path in (target, *sources)},
            "1.2.3", CHECKPOINT, {"crf": 18, "codec": None, "temporal_smoothing": 0.75},
        )  # fmt: skip
        manifest = SwapManifest(facts, key)
        manifest.sign(unsigned or files / "result.mp4", tmp_path / name, swapped)
        manifest.close()
        return tmp_path / name

    return sign


def claim_of(path: Path, anchors: str | None = None) -> ManifestClaim:
    claim = read_manifest(path, media_type(path) or "", anchors)
    assert claim is not None
    return claim


def packets(path: Path) -> list[tuple[int, Fraction, Fraction, bool, bytes]]:
    with av.open(str(path)) as container:
        return [
            (p.stream_index, p.pts * p.time_base, p.dts * p.time_base, p.is_keyframe, bytes(p))
            for p in container.demux()
            if p.size
        ]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.m4v"])
def test_signing_leaves_every_packet_and_its_times(
    signed: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    unsigned = make_clip(tmp_path / f"in{Path(name).suffix}", frames=30, b_frames=2, sound=["aac"])
    assert packets(signed(name, unsigned)) == packets(unsigned)
    assert {path.name for path in tmp_path.iterdir()} == {name, unsigned.name}


def test_a_fragmented_clip_keeps_its_packets_too(
    signed: Callable[..., Path], tmp_path: Path
) -> None:
    unsigned = make_clip(
        tmp_path / "in.mp4",
        frames=30,
        sound=["aac"],
        container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    )
    out = signed("out.mp4", unsigned)
    assert packets(out) == packets(unsigned)
    assert claim_of(out).holds


def test_the_manifest_says_what_was_done_by_what_from_what(
    signed: Callable[..., Path], files: Path
) -> None:
    claim = claim_of(signed())
    assert claim.holds and not claim.trusted and claim.failures == ()
    assert claim.tool == "vidswap 1.2.3"
    assert claim.actions == (
        ("c2pa.opened", ""),
        ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia"),
    )
    assert claim.swap["checkpoint_sha256"] == CHECKPOINT
    assert claim.swap["settings"] == {"crf": 18, "codec": None, "temporal_smoothing": 0.75}
    assert [(i.title, i.relationship, i.sha256) for i in claim.ingredients] == [
        ("target", "parentOf", sha256(files / "target.mp4")),
        ("source 1", "inputTo", sha256(files / "a.jpg")),
        ("source 2", "inputTo", sha256(files / "b.png")),
    ]


def test_names_of_files_are_not_told(signed: Callable[..., Path]) -> None:
    content = signed().read_bytes()
    assert b"target.mp4" not in content and b"a.jpg" not in content


def test_a_clip_that_was_only_encoded_again_claims_no_swap(signed: Callable[..., Path]) -> None:
    assert ("c2pa.transcoded", "") in claim_of(signed(swapped=False)).actions
    assert "edited" not in str(claim_of(signed(swapped=False)).actions)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_pictures_keep_pixels_and_marks(
    signed: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    unsigned = tmp_path / f"in{suffix}"
    write_picture(unsigned, moving_picture(3, 64, 48), MARKS)
    out = signed(f"out{suffix}", unsigned)
    assert claim_of(out).holds
    assert np.array_equal(read_picture(out).rgb, read_picture(unsigned).rgb)
    assert read_picture_metadata(out) == MARKS


@pytest.mark.parametrize("box", [b"mdat", b"moov", b"c2pa"])
def test_one_changed_byte_is_noticed(signed: Callable[..., Path], box: bytes) -> None:
    """In the coded pictures, in the header with its marks, and in the manifest itself."""
    out = signed()
    content = bytearray(out.read_bytes())
    content[content.find(box) + 200] ^= 1
    out.write_bytes(content)
    claim = claim_of(out)
    assert not claim.holds and claim.failures


def test_a_changed_mark_is_noticed(signed: Callable[..., Path], tmp_path: Path) -> None:
    unsigned = make_clip(tmp_path / "in.mp4", frames=4, metadata={"comment": "Synthetic: by us"})
    out = signed("out.mp4", unsigned)
    content = out.read_bytes()
    assert content.count(b"Synthetic: by us") == 1
    out.write_bytes(content.replace(b"Synthetic: by us", b"A true recording"))
    assert not claim_of(out).holds


def test_a_file_without_manifest_claims_nothing(files: Path) -> None:
    assert read_manifest(files / "result.mp4", "video/mp4") is None
    assert read_manifest(files / "a.jpg", "image/jpeg") is None


def test_a_targets_own_manifest_is_named_as_the_parent(
    signed: Callable[..., Path], files: Path
) -> None:
    first = signed("first.mp4")
    second = claim_of(signed("second.mp4", target=first))
    parent = second.ingredients[0]
    assert second.holds
    assert (parent.relationship, parent.manifest) == ("parentOf", claim_of(first).label)
    assert parent.sha256 == sha256(first) and not parent.was_broken


def test_a_targets_broken_manifest_is_named_as_broken(signed: Callable[..., Path]) -> None:
    first = signed("first.mp4")
    content = bytearray(first.read_bytes())
    content[content.find(b"mdat") + 200] ^= 1
    first.write_bytes(content)
    second = claim_of(signed("second.mp4", target=first))
    assert second.holds
    assert second.ingredients[0].was_broken


def test_targets_and_sources_of_any_container_are_ingredients(
    signed: Callable[..., Path], tmp_path: Path
) -> None:
    target = make_clip(tmp_path / "in.mkv", frames=3)
    claim = claim_of(signed(target=target))
    assert claim.holds and claim.ingredients[0].sha256 == sha256(target)
    wrong_suffix = tmp_path / "mkv.mp4"
    wrong_suffix.write_bytes(target.read_bytes())
    claim = claim_of(signed(target=wrong_suffix))
    assert claim.holds and claim.ingredients[0].sha256 == sha256(wrong_suffix)


def test_the_local_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "vidswap" / "key.pem"
    first = local_signing_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert local_signing_key(path) == first
    assert [p.name for p in path.parent.iterdir()] == ["key.pem"]
    assert local_signing_key(tmp_path / "other.pem").private_key != first.private_key


def test_the_local_key_lies_in_the_users_data_folder(data_folder: Path) -> None:
    local_signing_key()
    assert (data_folder / "vidswap" / "signing-key.pem").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_gives_a_key_for_one_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    key = local_signing_key(tmp_path / "vidswap" / "key.pem")
    assert key.warning is not None and "this run only" in key.warning
    check_signing(key)


def test_a_data_folder_that_is_a_file_gives_a_key_for_one_run(tmp_path: Path) -> None:
    (tmp_path / "vidswap").write_text("in the way")
    key = local_signing_key(tmp_path / "vidswap" / "key.pem")
    assert key.warning is not None and "this run only" in key.warning
    check_signing(key)


def test_only_the_right_authority_makes_the_local_key_trusted(
    signed: Callable[..., Path], tmp_path: Path
) -> None:
    key = local_signing_key(tmp_path / "mine.pem")
    local_signing_key(tmp_path / "another.pem")
    out = signed("mine.mp4", key=key)
    assert claim_of(out, local_trust_anchor(tmp_path / "mine.pem")).trusted
    assert not claim_of(out, local_trust_anchor(tmp_path / "another.pem")).trusted
    assert local_trust_anchor(tmp_path / "none.pem") is None


def own_pair(folder: Path, private: object, days: int = 30) -> tuple[Path, Path]:
    """A key and a certificate for e-mail protection under an authority, as PEM files."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Signer")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Authority")])
    now = datetime.datetime.now(datetime.UTC)
    public = private.public_key()  # type: ignore[attr-defined]
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder(issuer, name, public, 7)
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False
        )
        .sign(authority_key, hashes.SHA256())
    )
    key_path, certificate_path = folder / "own.key", folder / "own.crt"
    key_path.write_bytes(
        private.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_path, certificate_path


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["es384", "ps256", "ed25519"],
)
def test_a_key_of_the_users_signs(
    signed: Callable[..., Path],
    tmp_path: Path,
    private: object,
    request: pytest.FixtureRequest,
) -> None:
    key = load_signing_key(*own_pair(tmp_path, private))
    check_signing(key)
    assert key.algorithm == request.node.callspec.id
    claim = claim_of(signed(key=key))
    assert claim.holds and claim.signer == "Example Signer"


def test_wrong_keys_get_one_clear_line(tmp_path: Path, local_key: SigningKey) -> None:
    key, certificate = own_pair(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    other = tmp_path / "other.pem"
    other.write_text(local_key.private_key + local_key.certificates)
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN NOTHING-----")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    for pair, words in {
        (tmp_path / "none.pem", certificate): "none.pem: no such signing key",
        (key, tmp_path / "none.crt"): "none.crt: no such signing certificate",
        (rubbish, certificate): "rubbish.pem: no private key in PEM",
        (key, rubbish): "rubbish.pem: no certificates in PEM",
        (key, other): "is not that of the key",
        (locked, certificate): "has a password",
    }.items():
        with pytest.raises(SigningKeyError) as raised:
            load_signing_key(*pair)
        assert words in str(raised.value) and "\n" not in str(raised.value)


def test_a_certificate_that_has_run_out_is_refused(tmp_path: Path) -> None:
    pair = own_pair(tmp_path, ec.generate_private_key(ec.SECP256R1()), days=-3)
    with pytest.raises(SigningKeyError, match="not today"):
        load_signing_key(*pair)


def test_a_certificate_that_signed_itself_is_refused_before_any_work(
    local_key: SigningKey,
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Self")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), 7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = SigningKey(
        pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode(), "es256", "Self"
    )
    with pytest.raises(SigningKeyError, match="not one that C2PA signs with"):
        check_signing(key)
    check_signing(local_key)


def test_a_file_that_cannot_be_signed_leaves_nothing(
    signed: Callable[..., Path], tmp_path: Path
) -> None:
    unsigned = tmp_path / "in.mp4"
    unsigned.write_bytes(b"not a clip at all")
    with pytest.raises(SigningKeyError, match="--no-provenance"):
        signed("out.mp4", unsigned)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_full_disk_is_told_as_such(
    signed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SwapManifest, "_write_signed", full)
    with pytest.raises(DiskFullError):
        signed()
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_lie_beside_the_output_and_the_setting_is_put_back(
    signed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert claim_of(signed()).holds
    assert os.environ["TMPDIR"] == "/nowhere"
