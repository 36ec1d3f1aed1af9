"""Time stamps of an outside authority (RFC 3161): that a file was there at a time, as nobody can claim later.

Whoever owns a database and its signing key can sign another statement, or write other ledgers. Not what was
said before: an authority signed its hash and the time. The answer of the authority lies beside the file, as
`FILE.tsr`; `openssl ts -verify` checks it too. Needs the extra `provenance`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.errors import InputError, RushesError, SettingsError
from rushes.domain.notation import iso_time

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampRequest

ENDING: Final = ".tsr"
QUERY_TYPE: Final = "application/timestamp-query"
ANSWER_TYPE: Final = "application/timestamp-reply"
STAMP_BYTES_MAX: Final = 64 * 1024
CERTIFICATES_BYTES_MAX: Final = 1024 * 1024


class TimeStampRefused(RushesError):
    """The authority's answer is no time stamp of this file."""

    code = "TIME_STAMP_REFUSED"


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What a time stamp says. `trusted`: its certificate leads to one that was named as the authority's."""

    at_ms: int
    serial: str
    policy: str
    authority: str | None
    trusted: bool

    def as_dict(self) -> dict[str, object]:
        """The JSON form; `at` is ISO 8601 in UTC."""
        return {
            "at": iso_time(self.at_ms),
            "authority": self.authority,
            "policy": self.policy,
            "serial": self.serial,
            "trusted": self.trusted,
        }


def stamp_beside(path: Path) -> Path:
    """Where the time stamp of this file lies."""
    return path.with_name(path.name + ENDING)


def question(data: bytes) -> "TimeStampRequest":
    """What an authority is asked: the SHA-512 of the file, a nonce, and for its certificate."""
    _library()
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA512)
    return builder.nonce(nonce=True).cert_request(cert_request=True).build()


def checked_stamp(
    answer: bytes, data: bytes, *, trusted: "list[Certificate] | None" = None, nonce: int | None = None
) -> TimeStamp:
    """The time stamp in an authority's answer, if it is one of this file; raises `TimeStampRefused`.

    Without `trusted` certificates (of the authority, or of who signed its certificate) the signature is not
    checked, only that the stamp is of this file and, if it is given, of this question's `nonce`.
    """
    library: Any = _library()
    try:
        response = library.decode_timestamp_response(_in_order(answer))
    except (ValueError, TypeError) as error:
        raise TimeStampRefused(f"it is no time stamp: {_one_line(error)}") from None
    if response.status not in (0, 1):
        said = "; ".join(response.status_string) or f"status {response.status}"
        raise TimeStampRefused(f"the authority refused it: {said}")
    info = response.tst_info
    builder = library.VerifierBuilder(nonce=nonce)
    for certificate in trusted or ():
        builder = builder.add_root_certificate(certificate)
    try:
        if trusted:
            builder.build().verify_message(response, data)
        else:
            _check_unsigned(response, data, nonce)
    except (library.VerificationError, ValueError) as error:
        raise TimeStampRefused(f"the time stamp does not hold: {_one_line(error)}") from None
    return TimeStamp(
        at_ms=int(info.gen_time.timestamp() * 1000),
        serial=f"{info.serial_number:x}",
        policy=info.policy.dotted_string,
        authority=_authority(response),
        trusted=bool(trusted),
    )


def read_certificates(data: bytes, source: str) -> "list[Certificate]":
    """The certificates of an authority, in PEM; raises `InputError` naming the `source`."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        found = load_pem_x509_certificates(data)
    except ValueError as error:
        raise InputError(f"holds no certificates in PEM: {_one_line(error)}", source=source) from None
    return found


def _in_order(answer: bytes) -> bytes:
    """The answer with its sets in the order that DER asks for: authorities made with OpenSSL leave their
    certificates as they are configured, and the reader is strict. What is signed keeps its bytes.
    """
    from asn1crypto import tsp

    return bytes(tsp.TimeStampResp.load(answer, strict=True).dump(force=True))


def _check_unsigned(response: Any, data: bytes, nonce: int | None) -> None:
    """As the verifier does it, for a stamp whose authority nobody named."""
    info = response.tst_info
    names = {
        "2.16.840.1.101.3.4.2.1": "sha256",
        "2.16.840.1.101.3.4.2.2": "sha384",
        "2.16.840.1.101.3.4.2.3": "sha512",
    }
    name = names.get(info.message_imprint.hash_algorithm.dotted_string)
    if name is None:
        raise ValueError("its hash is none of SHA-256, SHA-384 and SHA-512")
    if hashlib.new(name, data).digest() != info.message_imprint.message:
        raise ValueError("it is of another file")
    if nonce is not None and info.nonce != nonce:
        raise ValueError("it answers another question")


def _authority(response: Any) -> str | None:
    """The name in the certificate that signed it."""
    from cryptography.x509 import load_der_x509_certificate

    for signer in response.signed_data.signer_infos:
        for encoded in response.signed_data.certificates:
            certificate = load_der_x509_certificate(encoded)
            if (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number):
                return certificate.subject.rfc4514_string()
    return None


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError:
        raise SettingsError(
            "time stamps need the extra provenance: pip install 'rushes[provenance]'"
        ) from None
    return rfc3161_client


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
