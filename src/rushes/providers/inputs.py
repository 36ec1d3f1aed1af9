"""Files that go with a submit, in the form in which the provider takes them."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

from rushes.domain.catalogue.wire import AS_NAMED, Wire
from rushes.domain.task import NotSent, Rejected


@dataclass(frozen=True, slots=True)
class InputFile:
    """One picture, video or sound: at a `url`, or as its bytes, which the service gets within the request.

    `url` is an https URL, or what the provider's own `upload_input` gave. `data` comes with its content type
    and a file name. `address` stands where a service takes a URL: the URL, or a data URI of the bytes.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    content_type: str = "application/octet-stream"
    file_name: str = "file"

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("a file has a URL or its bytes")

    @property
    def address(self) -> str:
        """A URL, or a data URI."""
        return self.url if self.url is not None else f"data:{self.content_type};base64,{self.base64}"

    @property
    def base64(self) -> str:
        """The bytes in Base64; empty for a file at a URL."""
        return b64encode(self.data or b"").decode()


Inputs = Mapping[str, tuple[InputFile, ...]]
"""Files by the part that they play: `first_frame`, `last_frame`, `references`, `source_video`, `audio`."""


@runtime_checkable
class TakesUploads(Protocol):
    """What a provider may have besides, for models whose media inputs have the way `own_upload`."""

    async def upload_input(self, file: InputFile) -> str | NotSent | Rejected:
        """Give the service a file (with `data`) before the submit that needs it; the address to submit with.

        `NotSent` when it did not work and may be retried, `Rejected` when the service refuses the file.
        Never raises. A file that is given twice does no harm.
        """
        ...


def addresses(inputs: Inputs, known: Mapping[str, str], lists: frozenset[str], model: str) -> dict[str, Any]:
    """The files' addresses as fields of a JSON body: `known` says which field an input is.

    Inputs of `lists` are lists there. Raises `ValueError` for an input that is not known.
    """
    found: dict[str, Any] = {}
    for role, files in inputs.items():
        if role not in known:
            raise ValueError(f"{model} has no input {role}")
        found[known[role]] = [file.address for file in files] if role in lists else files[0].address
    return found


def as_described(inputs: Inputs, wires: Mapping[str, Wire]) -> tuple[dict[str, Any], Inputs]:
    """The addresses of those inputs whose place the catalogue describes, by that place, and the other inputs.

    A place that ends in `[]` is a list.
    """
    described: dict[str, Any] = {}
    others: dict[str, tuple[InputFile, ...]] = {}
    for role, files in inputs.items():
        wire = wires.get(role, AS_NAMED)
        if wire == AS_NAMED or wire.path is None:
            others[role] = files
            continue
        *folders, last = wire.path.removesuffix("[]").split(".")
        place = described
        for folder in folders:
            place = place.setdefault(folder, {})
        is_list = wire.path.endswith("[]")
        place[last] = [file.address for file in files] if is_list else files[0].address
    return described, others


def multipart_form(
    fields: Mapping[str, str], files: Mapping[str, InputFile] | None = None
) -> tuple[str, bytes]:
    """The content type and the body of a form (RFC 7578). Raises `ValueError` for text that is not Unicode.

    The boundary is a hash of the fields and files, so that nobody can put it into one.
    """
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [
        (f'name="{name}"; filename="{file.file_name}"\r\ncontent-type: {file.content_type}', file.data or b"")
        for name, file in (files or {}).items()
    ]
    digest = blake2b(digest_size=16)
    for head, value in parts:
        digest.update(f"{len(head)}:{head}:{len(value)}:".encode() + value)
    boundary = digest.hexdigest()
    body = b"".join(
        f"--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()
