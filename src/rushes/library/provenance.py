"""Where things come from, through `Rushes`: reports and manifests of clips, time stamps of an authority."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushes import __version__
from rushes.domain.errors import NotFound, RushesError
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from rushes.files.provenance import Signer, require_library, signed
from rushes.library.files import WithFiles
from rushes.money.statements import time_stamps
from rushes.money.statements.time_stamps import TimeStamp
from rushes.read.acceptance import provenance
from rushes.read.scope import OPERATOR
from rushes.video_folder import folder_at

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TSA_SECONDS_MAX = 30.0
"""How long an authority may take to answer."""


class AuthorityUnreachable(RushesError):
    """The authority for time stamps gave no answer that is one."""

    code = "AUTHORITY_UNREACHABLE"
    retryable = True


class WithProvenance(WithFiles):
    """Reports, manifests and time stamps."""

    async def batch_provenance(self, batch_id: str) -> dict[str, Any]:
        """`batch_id, made_by_ai, manifests, clips`: each success with model, hashes and C2PA manifest."""
        return await self.database.read(provenance.batch_provenance, OPERATOR, batch_id)

    async def write_manifests(
        self, report: Mapping[str, Any], folder: Path, signer: Signer, *, copies: bool = False
    ) -> dict[int, str | None]:
        """Own manifests of a report's stored clips, into a folder; by index the file's name.

        `ITEM.c2pa` is for a file beside the clip, with `copies` `ITEM.mp4` has it in it. None for a clip that
        is not stored, and, without `copies`, for one that carries a manifest: another beside it would say
        that the bytes were changed. Raises `InputError` for a signer that cannot sign, and where nothing can
        be written.
        """
        require_library()
        objects, target = self.objects(), folder_at(folder)
        written: dict[int, str | None] = {}
        for clip in report["clips"]:
            written[clip["index"]] = None
            if clip["archive_path"] is None:
                continue
            try:
                content = b"".join([part async for part in objects.read(clip["archive_path"])])
            except NotFound:
                continue
            item = {name: clip[name] for name in ("item_id", "model", "prompt_sha256", "made_by_ai")}
            made = await asyncio.to_thread(signed, content, item, signer, version=__version__, embeds=copies)
            if made is not None:
                name = f"{clip['item_id']}.{'mp4' if copies else 'c2pa'}"
                (target / name).write_bytes(made)
                written[clip["index"]] = name
        return written

    async def time_stamp(
        self, data: bytes, url: str, *, trusted: "list[Certificate] | None" = None
    ) -> tuple[bytes, TimeStamp]:
        """An authority's time stamp of these bytes (RFC 3161), as it answered, and what it says.

        Only their hash is sent. With `trusted` certificates the authority must be one of theirs. Raises
        `AuthorityUnreachable`, and `TimeStampRefused` for an answer that is none of this question.
        """
        question = time_stamps.question(data)
        http = GuardedHttp(allow_private=True)  # the operator named it
        headers = {"content-type": time_stamps.QUERY_TYPE, "accept": time_stamps.ANSWER_TYPE}
        try:
            answer = await http.post(
                url, headers=headers, body=question.as_bytes(), timeout_seconds=TSA_SECONDS_MAX
            )
        except (UrlRefused, NoAnswerFromUrl) as error:
            raise AuthorityUnreachable(f"no time stamp from {url}: {error.message}") from None
        finally:
            await http.close()
        if answer.status != 200:
            raise AuthorityUnreachable(f"no time stamp from {url}: it answered HTTP {answer.status}")
        return answer.body, time_stamps.checked_stamp(
            answer.body, data, trusted=trusted, nonce=question.nonce
        )
