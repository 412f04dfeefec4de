"""The key that signs a result's C2PA manifest: the user's own, or one made here on first use."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vidswap.errors import SigningKeyError
from vidswap.runtime.inputs import read_bounded

LOCAL_KEY_FILE = "signing-key.pem"
LOCAL_ORGANIZATION = "vidswap local key, not verified"
# No timestamp authority is asked, so that a signature holds only while its certificate does.
_LOCAL_YEARS = 25
_LARGEST_PEM = 2**22  # bytes
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class SigningKey:
    """A private key and its certificates, the signer's own first, as PEM.

    algorithm: C2PA's name, as "es256". signer: the certificate's common name. warning: one line,
    where the key could not be kept for the next run.
    """

    private_key: str = field(repr=False)
    certificates: str = field(repr=False)
    algorithm: str
    signer: str
    warning: str | None = None


def load_signing_key(key: Path, certificates: Path) -> SigningKey:
    """Read a private key and its certificate chain, PEM files both, perhaps the same one.

    EC (P-256, P-384, P-521), RSA and Ed25519 keys without a password are taken. Raises
    SigningKeyError where one is missing or damaged, has run out, or the two do not belong together.
    """
    private = _private_key(key)
    chain = _certificates(certificates)
    leaf = chain[0]
    if _public_bytes(private.public_key()) != _public_bytes(leaf.public_key()):
        raise SigningKeyError(
            f"{certificates}: its first certificate is not that of the key {key}; "
            "give the two that belong together"
        )
    now = datetime.datetime.now(datetime.UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise SigningKeyError(
            f"{certificates}: valid from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}, not today; give one that is"
        )
    return _signing_key(private, chain, _algorithm(key, private))


def local_key_path() -> Path:
    """Where the key made on first use lies: in the user's data folder (XDG_DATA_HOME)."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    try:
        return Path(home).expanduser() / "vidswap" / LOCAL_KEY_FILE
    except RuntimeError:  # a user without a home: no folder, which the run then says
        return Path(os.devnull) / "vidswap" / LOCAL_KEY_FILE


def local_signing_key(path: Path | None = None) -> SigningKey:
    """This computer's own key, made on first use; only its owner may read the file.

    Where the file cannot be written the key is for this run alone, and its `warning` says so.
    Raises SigningKeyError where the file is there but damaged.
    """
    path = path or local_key_path()
    if path.exists():
        return load_signing_key(path, path)
    made = _made_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_once(path, made.private_key + made.certificates)
    except OSError as error:
        words = (error.strerror or "unknown reason").lower()
        return SigningKey(
            made.private_key, made.certificates, made.algorithm, made.signer,
            f"the signing key could not be kept in {path.parent} ({words}); "
            "this output is signed by a key for this run only",
        )  # fmt: skip
    return load_signing_key(path, path)  # another process may have been first


def local_trust_anchor(path: Path | None = None) -> str | None:
    """PEM of the certificate that this computer's key comes under; None where there is no key."""
    path = path or local_key_path()
    try:
        return _pem(x509.load_pem_x509_certificates(path.read_bytes())[-1])
    except (OSError, ValueError):
        return None


def _private_key(path: Path) -> _PrivateKey:
    content = _content(path, "signing key")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError as error:
        raise SigningKeyError(
            f"{path}: the signing key has a password; give one without "
            "(openssl pkcs8 -in KEY -out PLAIN.pem)"
        ) from error
    except Exception as error:  # cryptography names no family of its own for what it cannot read
        raise SigningKeyError(f"{path}: no private key in PEM; give the signer's key") from error
    if not isinstance(key, _KEY_TYPES):
        raise SigningKeyError(f"{path}: not an EC, RSA or Ed25519 key, which C2PA asks for")
    return key


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_content(path, "signing certificate"))
    except ValueError as error:
        raise SigningKeyError(
            f"{path}: no certificates in PEM; give the signer's certificate and, after it, "
            "those it comes under"
        ) from error


def _content(path: Path, what: str) -> bytes:
    try:
        return read_bounded(path, _LARGEST_PEM)
    except ValueError as error:
        raise SigningKeyError(f"{path}: the {what} is {error}; give a PEM file") from error
    except FileNotFoundError as error:
        raise SigningKeyError(f"{path}: no such {what}; check the name") from error
    except OSError as error:
        words = (error.strerror or "unknown reason").lower()
        raise SigningKeyError(f"{path}: the {what} cannot be read: {words}") from error


def _algorithm(path: Path, key: _PrivateKey) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if key.curve.name not in _CURVES:
        raise SigningKeyError(
            f"{path}: an EC key on {key.curve.name}; C2PA takes {', '.join(_CURVES)}"
        )
    return _CURVES[key.curve.name]


def _made_key() -> SigningKey:
    """A key with a certificate under an authority of its own, whose key is thrown away.

    C2PA takes no certificate that signed itself (C2PA 2.x, 14.5.1).
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    number = secrets.token_hex(4)
    authority_name, name = _name(f"vidswap authority {number}"), _name(f"vidswap {number}")
    authority = _certificate(authority_name, authority_name, authority_key, authority_key, True)
    leaf = _certificate(name, authority_name, key, authority_key, False)
    return _signing_key(key, [leaf, authority], "es256")


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _LOCAL_YEARS))
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])  # C2PA asks for one
        builder = builder.add_extension(purpose, False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, LOCAL_ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _signing_key(key: _PrivateKey, chain: list[x509.Certificate], algorithm: str) -> SigningKey:
    plain = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    subject = chain[0].subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    signer = str(names[0].value) if names else subject.rfc4514_string()
    return SigningKey(plain.decode(), "".join(map(_pem, chain)), algorithm, signer)


def _write_once(path: Path, content: str) -> None:
    """Write a file for its owner only, whole or not at all; one that is there already stays."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _public_bytes(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_KEY_TYPES = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
