"""Manifests of stored files are read and kept, the bytes never changed; own ones say what made a clip."""

import hashlib
import io
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from rushes.domain.errors import InputError
from rushes.files.provenance import Signer, can_read_manifests, manifest_of, signed
from rushes.read.acceptance.provenance import batch_provenance, prompt_sha256
from rushes.read.scope import OPERATOR
from rushes.store.retention import erasure
from tests.files.c2pa_signer import new_signer
from tests.files.file_host import CLIP, Reply
from tests.files.vault import Vault, run

pytestmark = pytest.mark.skipif(not can_read_manifests(), reason="c2pa-python is not installed")

ITEM = {"item_id": "bat_1-0", "model": "sora-2", "prompt_sha256": "ab" * 32, "made_by_ai": True}


def _signed(content: bytes, signer: Signer, *, embeds: bool = True) -> bytes:
    made = signed(content, ITEM, signer, version="1", embeds=embeds)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def signer() -> Signer:
    return new_signer()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


def test_a_manifest_is_read_and_a_changed_byte_breaks_it(signer: Signer, path: Path) -> None:
    path.write_bytes(CLIP)
    assert manifest_of(path) is None
    copy = _signed(CLIP, signer)
    path.write_bytes(copy)
    found = manifest_of(path)
    assert found is not None
    assert (found["state"], found["made_by_ai"], found["problems"]) == ("valid", True, [])
    assert (found["generator"], found["issuer"], found["signer"]) == ("rushes 1", "Tests", "Tests Signer")
    path.write_bytes(copy[:-50] + bytes([copy[-50] ^ 1]) + copy[-49:])
    changed = manifest_of(path)
    assert changed is not None
    assert (changed["state"], changed["problems"]) == ("invalid", ["assertion.bmffHash.mismatch"])
    path.write_bytes(b"junk" * 10)
    unreadable = manifest_of(path)
    assert unreadable is not None
    assert unreadable["state"] == "unreadable"


def test_a_manifest_beside_a_clip_leaves_it_and_belongs_to_it_alone(signer: Signer) -> None:
    import c2pa

    beside = _signed(CLIP, signer, embeds=False)
    context = c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False}})

    def state(content: bytes) -> str | None:
        reader = c2pa.Reader("video/mp4", io.BytesIO(content), manifest_data=beside, context=context)
        found: str | None = reader.get_validation_state()
        return found

    assert state(CLIP) == "Valid"
    assert state(CLIP[:-50] + bytes([CLIP[-50] ^ 1]) + CLIP[-49:]) == "Invalid"


def test_a_signed_clip_stays_in_the_copy_as_its_parent_and_gets_no_manifest_beside_it(
    signer: Signer, path: Path
) -> None:
    theirs = _signed(CLIP, new_signer("Another service"))
    assert signed(theirs, ITEM, signer, version="1", embeds=False) is None
    path.write_bytes(_signed(theirs, signer))
    found = manifest_of(path)
    assert found is not None
    assert (found["state"], found["issuer"], found["made_by_ai"]) == ("valid", "Tests", True)


def test_keys_that_cannot_sign_are_refused(signer: Signer) -> None:
    encrypted = load_pem_private_key(signer.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for other in (
        Signer(new_signer().certificates, signer.key),
        Signer(b"x", b"y"),
        Signer(signer.certificates, encrypted),
    ):
        with pytest.raises(InputError):
            signed(CLIP, ITEM, other, version="1", embeds=True)
    assert "PRIVATE" not in repr(signer)


def test_stored_files_are_byte_for_byte_what_came_and_their_manifests_are_kept(
    vault: Vault, signer: Signer
) -> None:
    theirs = _signed(CLIP, signer)
    broken = theirs[:-50] + bytes([theirs[-50] ^ 1]) + theirs[-49:]
    vault.settle(Reply(theirs), Reply(CLIP), Reply(broken))
    run(lambda: vault.work(vault.archiver()))
    for row, content in zip(vault.files(), (theirs, CLIP, broken), strict=True):
        assert (vault.folder / row["video_key"]).read_bytes() == content
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    report = vault.books.database.run_reading(lambda c: batch_provenance(c, OPERATOR, "bat_1"))
    assert [clip["manifest"]["state"] for clip in report["clips"]] == ["valid", "none", "invalid"]
    assert report["manifests"] == {"valid": 1, "invalid": 1, "unreadable": 0, "none": 1, "not_read": 0}
    assert report["made_by_ai"] == 3, "the failure is not among them"
    first = report["clips"][0]
    assert first["prompt_sha256"] == hashlib.sha256(b"take 0").hexdigest()
    assert first["sha256"] == hashlib.sha256(theirs).hexdigest()
    vault.books.sql("DELETE FROM clip_manifests")
    report = vault.books.database.run_reading(lambda c: batch_provenance(c, OPERATOR, "bat_1"))
    assert report["manifests"]["not_read"] == 3
    scope = erasure.Scope(vault.account_id)
    vault.books.database.run(erasure.erase_some, scope, now_ms=vault.books.now_ms)
    report = vault.books.database.run_reading(lambda c: batch_provenance(c, OPERATOR, "bat_1"))
    assert report["clips"][0]["prompt_sha256"] == first["prompt_sha256"], "an erased prompt keeps its hash"
    assert report["clips"][0]["sha256"] is None
    assert prompt_sha256("a") == hashlib.sha256(b"a").hexdigest()
