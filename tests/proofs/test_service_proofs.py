"""The proofs of the HTTP service and of all providers at once, small."""

import pytest
from proofs.__main__ import PROOFS, parser

from proofs import archive, callbacks, duplicates, providers, webhooks


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (duplicates, ("duplicates", "--tasks", "4", "--duplicates", "20", "--only", "sqlite")),
        (callbacks, ("callbacks", "--tasks", "120")),
        (archive, ("archive", "--tasks", "40", "--expiring", "0", "--away-seconds", "1", "--mild")),
        (webhooks, ("webhooks", "--tasks", "20", "--kills", "1")),
        (providers, ("providers", "--tasks", "12", "--workers", "1")),
    ],
    ids=["duplicates", "callbacks", "archive", "webhooks", "providers"],
)
def test_nothing_differs(module: object, arguments: tuple[str, ...]) -> None:
    assert getattr(module, "__name__", "") == PROOFS[arguments[0]]
    result = module.run(parser().parse_args(arguments))  # type: ignore[attr-defined]
    assert result.ok, "\n".join(result.lines())
