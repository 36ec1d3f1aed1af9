"""The proofs of the HTTP service and of all providers at once, small."""

import pytest
from proofs.__main__ import PROOFS, parser

from proofs import (
    archive,
    attack,
    callbacks,
    desync,
    duplicates,
    gateway,
    providers,
    proxy_out,
    rotation,
    webhooks,
)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (duplicates, ("duplicates", "--tasks", "4", "--duplicates", "20", "--only", "sqlite")),
        (callbacks, ("callbacks", "--tasks", "120")),
        (archive, ("archive", "--tasks", "40", "--expiring", "0", "--away-seconds", "1", "--mild")),
        (webhooks, ("webhooks", "--tasks", "20", "--kills", "1")),
        (desync, ("desync", "--tasks", "60")),
        (providers, ("providers", "--tasks", "12", "--workers", "1")),
        (gateway, ("gateway", "--tasks", "80")),
        (rotation, ("rotation", "--tasks", "20", "--rotations", "1")),
        (proxy_out, ("proxy-out", "--tasks", "60", "--share", "0.5")),
        (
            attack,
            (
                "attack",
                "--tasks",
                "8",
                "--seconds",
                "1.5",
                "--only",
                "trailers",
                "small chunks",
                "--p99-seconds",
                "5",
            ),
        ),
    ],
    ids=[
        "duplicates",
        "callbacks",
        "archive",
        "webhooks",
        "desync",
        "providers",
        "gateway",
        "rotation",
        "proxy-out",
        "attack",
    ],
)
def test_nothing_differs(module: object, arguments: tuple[str, ...]) -> None:
    assert getattr(module, "__name__", "") == PROOFS[arguments[0]]
    result = module.run(parser().parse_args(arguments))  # type: ignore[attr-defined]
    assert result.ok, "\n".join(result.lines())
