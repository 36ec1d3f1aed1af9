"""`rushes batch provenance`: that a batch's clips were made by a model, as a report, and as manifests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from rushes.cli.files import read_bounded
from rushes.cli.options import Json
from rushes.domain.notation import counted

PEM_BYTES_MAX = 256 * 1024


def provenance(
    batch_id: Annotated[str, Parameter(help="The batch's id, the start of it, or last.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write manifests into this folder.")] = None,
    copies: Annotated[
        bool, Parameter(negative=(), help="With --out: signed copies of the clips, not files beside them.")
    ] = False,
    certificate: Annotated[
        Path | None, Parameter(help="Who signs them: a chain of certificates (PEM), the signer's first.")
    ] = None,
    key: Annotated[Path | None, Parameter(help="The signer's private key (PEM).")] = None,
    json: Json = False,
) -> None:
    """List where each clip comes from: model, hashes of prompt and file, and what its own C2PA manifest says.

    With --out, own manifests are written too; stored files are never changed.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.cli.usage import UsageError
    from rushes.files.provenance import Signer

    signer = None
    if out is not None:
        if certificate is None or key is None:
            raise UsageError("--out needs the --certificate and the --key of who signs")
        signer = Signer(*(read_bounded(str(path), PEM_BYTES_MAX)[1] for path in (certificate, key)))
    elif copies or certificate is not None or key is not None:
        raise UsageError("--copies, --certificate and --key go with --out")

    async def look() -> None:
        async with opened(reads_only=True) as rushes:
            named = await rushes.batch_id_like(batch_id)
            report = await rushes.batch_provenance(named)
            written = {}
            if out is not None and signer is not None:
                written = await rushes.write_manifests(report, out, signer, copies=copies)
        if json:
            print_json({"ok": True, **report, "written": written})
            return
        _print_report(report)
        if out is not None:
            print_line(f"{counted(sum(map(bool, written.values())), 'manifest')} written to {out}")

    run_async(look())


def _print_report(report: Mapping[str, Any]) -> None:
    from rushes.cli.show import print_line, print_table

    print_table(
        ("index", "model", "prompt sha256", "file sha256", "manifest", "signed by"),
        [
            (
                clip["index"],
                clip["model"],
                clip["prompt_sha256"][:16],
                (clip["sha256"] or "-")[:16],
                clip["manifest"]["state"],
                clip["manifest"].get("issuer"),
            )
            for clip in report["clips"]
        ],
        right="index",
    )
    states = ", ".join(f"{count} {state}" for state, count in report["manifests"].items() if count)
    print_line(f"{counted(report['made_by_ai'], 'clip')} made by AI; manifests: {states or 'none'}")
