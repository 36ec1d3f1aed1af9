"""Other packages that bring a provider: really installed, as a folder on the path with its metadata."""

import sys
from pathlib import Path

import pytest

ACME = """
from rushes.plugin import Model

MODELS = [
    Model(
        name="acme-1",
        provider="acme",
        api_model="acme-1",
        credits=5,
        render_time_p50_seconds=60.0,
        soft_deadline_seconds=600.0,
        hard_deadline_seconds=3600.0,
    )
]
"""


def write_plugin(folder: Path, name: str, code: str) -> None:
    """Put the package `rushes_<name>` into the folder, with its provider's and models' entry points."""
    module = f"rushes_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[rushes.providers]\n{name} = {module}:build\n[rushes.models]\n{name} = {module}:MODELS\n"
    )


def install_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    """`write_plugin`, and make it importable until the test ends."""
    write_plugin(folder, name, code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, f"rushes_{name.replace('-', '_')}", raising=False)
