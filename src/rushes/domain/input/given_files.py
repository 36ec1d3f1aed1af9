"""Files that items bring along themselves: data URIs and, on the command line and in the library, paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rushes.domain.catalogue.fields import OptionFields
from rushes.domain.catalogue.media import LAST_FRAME, LISTS
from rushes.domain.catalogue.options import Origin
from rushes.domain.input.prompts import TaskDraft


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A data URI or a path, and where it stands: an error about it names that place."""

    text: str
    origin: Origin
    place: str


def given_files(
    drafts: Sequence[TaskDraft], fields: OptionFields, *, takes_paths: bool
) -> dict[str, GivenFile]:
    """The files that these drafts bring along, by their text; of a file that is there twice the first."""
    found: dict[str, GivenFile] = {}
    for draft in drafts:
        for name, value in draft.options.items():
            is_list = isinstance(value, LISTS)
            if not is_list and not isinstance(value, str):
                continue
            for index, each in enumerate(value if is_list else (value,)):
                if not isinstance(each, str) or not _is_file(each, takes_paths=takes_paths):
                    continue
                if fields.is_media(name, draft.model):
                    place = f"{name}[{index}]" if is_list else name
                    found.setdefault(each, GivenFile(each, draft.origin, place))
    return found


def with_uploads(
    drafts: Sequence[TaskDraft], fields: OptionFields, upload_id_of: Mapping[str, str]
) -> list[TaskDraft]:
    """The same drafts with the uploads' ids in the places of the files' texts."""
    if not upload_id_of:
        return list(drafts)

    def replaced(value: Any) -> Any:
        if isinstance(value, LISTS):
            return [replaced(each) for each in value]
        return upload_id_of.get(value, value) if isinstance(value, str) else value

    return [
        replace(
            draft,
            options={
                name: replaced(value) if fields.is_media(name, draft.model) else value
                for name, value in draft.options.items()
            },
        )
        for draft in drafts
    ]


def _is_file(text: str, *, takes_paths: bool) -> bool:
    if text.startswith("data:"):
        return True
    if not takes_paths or LAST_FRAME.fullmatch(text):
        return False
    return not text.startswith(("http://", "https://", "upl_"))
