"""Where a clip comes from: C2PA manifests of stored files, read and checked, and own ones.

A stored file is never changed: a service's signature covers its bytes. Nothing is fetched over the network:
neither manifests that lie elsewhere nor the state of certificates. Needs the extra `provenance`.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from rushes.domain.errors import InputError, SettingsError

VIDEO_TYPE: Final = "video/mp4"
MADE_BY_AI: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSED_WITH_AI: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
PROBLEMS_MAX: Final = 20
_TEXT_MAX: Final = 300
_OFFLINE: Final = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
_UNTRUSTED: Final = "signingCredential.untrusted"
"""No list of trusted signers is kept here: who signed is shown, and not judged."""


@cache
def can_read_manifests() -> bool:
    """Whether c2pa-python is installed."""
    try:
        import c2pa  # noqa: F401
    except ImportError:
        return False
    return True


def manifest_of(path: Path) -> dict[str, Any] | None:
    """What the file's own manifest says, and whether it holds; None without one. For a thread.

    `state` is `valid`, `invalid` (signature or bytes do not agree) or `unreadable`. `issuer` signed it, which
    is not compared with any list. `made_by_ai` is what it, or a manifest that it builds on, says of how the
    clip was made, None where they say nothing.
    """
    import c2pa

    context = c2pa.Context.from_dict(_OFFLINE)
    try:
        with path.open("rb") as content:
            reader = c2pa.Reader.try_create(VIDEO_TYPE, content, context=context)
            if reader is None:
                return None
            active = reader.get_active_manifest() or {}
            manifests = list((json.loads(reader.json()).get("manifests") or {}).values())
            results = reader.get_validation_results() or {}
            state = str(reader.get_validation_state() or "Invalid")
    except Exception as error:  # whatever a file makes of the library: it is stored all the same
        return {"state": "unreadable", "problems": [_short(error)]}
    failures = (results.get("activeManifest") or {}).get("failure") or []
    codes = [str(failure.get("code")) for failure in failures]
    signature = active.get("signature_info") or {}
    sources = [each for manifest in manifests for each in _source_types(manifest)]
    return {
        "state": "invalid" if state == "Invalid" else "valid",
        "generator": _generator(active),
        "issuer": _short(signature.get("issuer")),
        "signer": _short(signature.get("common_name")),
        "signed_at": _short(signature.get("time")),
        "made_by_ai": bool({MADE_BY_AI, COMPOSED_WITH_AI}.intersection(sources)) if sources else None,
        "problems": [_short(code) for code in codes if code != _UNTRUSTED][:PROBLEMS_MAX],
    }


def _source_types(manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for assertion in manifest.get("assertions") or []:
        data = assertion.get("data")
        actions = data.get("actions") if isinstance(data, dict) else None
        found += [
            str(each.get("digitalSourceType")) for each in actions or [] if each.get("digitalSourceType")
        ]
    return found


def _generator(active: Mapping[str, Any]) -> str | None:
    for info in active.get("claim_generator_info") or []:
        return _short(" ".join(str(info[name]) for name in ("name", "version") if info.get(name)))
    return _short(active.get("claim_generator"))


def _short(value: object) -> str | None:
    return None if value is None else " ".join(str(value).split())[:_TEXT_MAX]


# --- own manifests --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs own manifests: a chain of certificates, the signer's first, and its private key, in PEM."""

    certificates: bytes
    key: bytes = field(repr=False)

    def opened(self) -> Any:
        """As the library takes it. Raises `InputError` for what is no such key."""
        import c2pa

        try:
            return c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(_algorithm(self.key), self.certificates, self.key, None)
            )
        except (c2pa.C2paError, TypeError, ValueError) as error:  # TypeError: it is encrypted
            raise InputError(f"the certificate and the key sign no manifest: {_short(error)}") from None


def require_library() -> None:
    """Raise `SettingsError` where c2pa-python is not installed."""
    if not can_read_manifests():
        raise SettingsError("manifests need the extra provenance: pip install 'rushes[provenance]'")


def signed(
    content: bytes, item: Mapping[str, Any], signer: Signer, *, version: str, embeds: bool
) -> bytes | None:
    """A manifest of this clip for a file beside it, or with `embeds` a copy of the clip that has it in it.

    It says that a model made the clip and which one, and has the hash of the prompt and the item's name, as
    `org.rushes.item`. A clip that carries a manifest becomes the parent of the copy: that one stays in it;
    for a file beside such a clip the answer is None. For a thread. Raises `InputError` when the certificate
    cannot sign it.
    """
    import c2pa

    context = c2pa.Context.from_dict(_OFFLINE)
    try:
        has_parent = c2pa.Reader.try_create(VIDEO_TYPE, io.BytesIO(content), context=context) is not None
        if has_parent and not embeds:
            return None
        return _sign(content, item, signer, version, has_parent=has_parent, embeds=embeds)
    except c2pa.C2paError as error:
        raise InputError(f"the manifest cannot be signed: {_short(error)}") from None


def _sign(
    content: bytes,
    item: Mapping[str, Any],
    signer: Signer,
    version: str,
    *,
    has_parent: bool,
    embeds: bool,
) -> bytes:
    import c2pa

    document: dict[str, Any] = {
        "claim_generator_info": [{"name": "rushes", "version": version}],
        "title": item["item_id"],
        "assertions": [{"label": "org.rushes.item", "data": dict(item)}],
    }
    action = {
        "action": "c2pa.created",
        "digitalSourceType": MADE_BY_AI,
        "softwareAgent": {"name": item["model"]},
    }
    if not has_parent:
        document["assertions"].append({"label": "c2pa.actions.v2", "data": {"actions": [action]}})
    builder = c2pa.Builder(json.dumps(document), context=c2pa.Context.from_dict(_OFFLINE))
    if has_parent:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    if not embeds:
        builder.set_no_embed()
    out = io.BytesIO()
    manifest = builder.sign(signer.opened(), VIDEO_TYPE, io.BytesIO(content), out)
    return out.getvalue() if embeds else bytes(manifest)


def _algorithm(key: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = load_pem_private_key(key, password=None)
    match found:
        case ec.EllipticCurvePrivateKey():
            names = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
            if found.curve.name in names:
                return names[found.curve.name]
        case ed25519.Ed25519PrivateKey():
            return b"ed25519"
        case rsa.RSAPrivateKey():
            return b"ps256"
        case _:
            pass
    raise ValueError("a key is one of P-256, P-384, P-521, Ed25519 and RSA")
