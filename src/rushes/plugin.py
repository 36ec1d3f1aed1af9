"""Everything that the author of a provider imports. See docs/providers.md for a whole one.

- **What to build**: a function from `ProviderConfig` to `Provider`, and a list of `Model`s, each named by an
  entry point. Most providers derive from `HttpProvider`.
- **What `submit` gets and answers**: `SubmitRequest`; `Accepted`, `Rejected`, `Throttled`, `NotSent`,
  `Unknown` (together `SubmitOutcome`).
- **What `poll_remote_task` answers**: `NoAnswer`, `Processing`, `Succeeded`, `Failed` with its `FailureType`
  (together `PollResult`). `Succeeded` may name files besides the video: `OutputFile` with its `OutputKind`.
- **What a provider may have besides**: `find`, which answers `Accepted`, `NeverTaken` or `NoAnswer` (together
  `FindResult`); `cancel`, which answers `CancelTaken`, `CancelRefused` or `NoAnswer` (`CancelResult`);
  `callback_is_genuine` (`SignsCallbacks`).
- **What a provider says of its service**: `ProviderLimits`, `ResultFiles`, `InlineFile`, `origin_of`.
- **What a model says of itself**: `Model` with `Price` and `Cost` (`read_price`, `read_cost`); its options
  `OneOf`, `WholeNumber`, `Seed`, `DecimalNumber`, `YesNo`, `Text`, `Url`, `UrlList`, their place in a request
  (`Wire`), and `AtMostWhen`, `Apart`, `Needs` for what holds between two of them; its files `MediaInput`,
  which `submit` gets as `InputFile`s, and `TakesUploads` for a service that is given files before a submit.
- **How to read an answer**: `accepted`, `succeeded`, `progress_of`, `amount_in`, `words_in`,
  `kind_of_file`, `failure_type_of_text`, `complaint_of` and `Complaint`, `path_segment`,
  `require_same_task`, `Unnamed`, `retry_after_seconds`, `NO_SUCH_ID`, `UNDECODABLE`, `Response`,
  `Transport`, `TransportError`.

Stable: these names, their arguments and fields, and what a provider must promise. They change with a major
version only (before 1.0 with a minor one), and CHANGELOG.md says how to follow. New outcomes, options and
optional fields may be added in any version. Everything else in `rushes` may change in any version; a plug-in
that imports only this module and `rushes.testing` does not notice.
"""

from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import (
    Apart,
    AtMostWhen,
    DecimalNumber,
    Needs,
    OneOf,
    Seed,
    Text,
    Url,
    UrlList,
    WholeNumber,
    YesNo,
)
from rushes.domain.catalogue.price import Cost, Price
from rushes.domain.catalogue.price_reading import read_cost, read_price
from rushes.domain.catalogue.wire import Wire
from rushes.domain.task import (
    Accepted,
    CancelRefused,
    CancelResult,
    CancelTaken,
    Failed,
    FailureType,
    FindResult,
    NeverTaken,
    NoAnswer,
    NotSent,
    OutputFile,
    OutputKind,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    UNDECODABLE,
    Complaint,
    Unnamed,
    accepted,
    amount_in,
    complaint_of,
    failure_type_of_text,
    kind_of_file,
    path_segment,
    progress_of,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import (
    InlineFile,
    Provider,
    ProviderConfig,
    ProviderLimits,
    ResultFiles,
    SignsCallbacks,
    SubmitRequest,
    origin_of,
)
from rushes.providers.http.transport import Response, Transport, TransportError, retry_after_seconds
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import InputFile, TakesUploads

__all__ = [
    "NO_SUCH_ID",
    "UNDECODABLE",
    "Accepted",
    "Apart",
    "AtMostWhen",
    "CancelRefused",
    "CancelResult",
    "CancelTaken",
    "Complaint",
    "Cost",
    "DecimalNumber",
    "Failed",
    "FailureType",
    "FindResult",
    "HttpProvider",
    "InlineFile",
    "InputFile",
    "MediaInput",
    "Model",
    "Needs",
    "NeverTaken",
    "NoAnswer",
    "NotSent",
    "OneOf",
    "OutputFile",
    "OutputKind",
    "PollResult",
    "Price",
    "Processing",
    "Provider",
    "ProviderConfig",
    "ProviderLimits",
    "Rejected",
    "Response",
    "ResultFiles",
    "Seed",
    "SignsCallbacks",
    "SubmitOutcome",
    "SubmitRequest",
    "Succeeded",
    "TakesUploads",
    "Text",
    "Throttled",
    "Transport",
    "TransportError",
    "Unknown",
    "Unnamed",
    "Url",
    "UrlList",
    "WholeNumber",
    "Wire",
    "YesNo",
    "accepted",
    "amount_in",
    "complaint_of",
    "failure_type_of_text",
    "kind_of_file",
    "origin_of",
    "path_segment",
    "progress_of",
    "read_cost",
    "read_price",
    "require_same_task",
    "retry_after_seconds",
    "succeeded",
    "words_in",
]
