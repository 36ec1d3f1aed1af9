"""The proofs of the HTTP service, small."""

import pytest
from proofs.__main__ import PROOFS, parser

from proofs import callbacks, duplicates, webhooks


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (duplicates, ("duplicates", "--tasks", "4", "--duplicates", "20", "--only", "sqlite")),
        (callbacks, ("callbacks", "--tasks", "120")),
        (webhooks, ("webhooks", "--tasks", "20", "--kills", "1")),
    ],
    ids=["duplicates", "callbacks", "webhooks"],
)
def test_nothing_differs(module: object, arguments: tuple[str, ...]) -> None:
    assert getattr(module, "__name__", "") == PROOFS[arguments[0]]
    result = module.run(parser().parse_args(arguments))  # type: ignore[attr-defined]
    assert result.ok, "\n".join(result.lines())
