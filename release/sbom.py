"""A bill of materials of what `pip install rushes` brings: CycloneDX JSON from the pinned requirements.

Run `python -m release.sbom` (`make sbom`): it writes build/sbom.json. Names, versions, markers and hashes
come from requirements/base.txt; licences from the metadata of the installed packages.
"""

import json
import re
import sys
import uuid
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements" / "base.txt"
OUT = ROOT / "build" / "sbom.json"

SPEC_VERSION = "1.6"
UNKNOWN = "not declared"

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill(requirements: str, licence_of: Callable[[str], str], *, name: str, version: str) -> dict[str, Any]:
    """The document, the same for the same pins and licences; `ValueError` for a line that is no pin."""
    components: list[dict[str, Any]] = []
    for line in requirements.splitlines():
        if found := _HASH.search(line):
            components[-1]["properties"].append({"name": "distribution:sha256", "value": found[1]})
        elif pin := _PIN.match(line):
            components.append(_component(pin, licence_of(pin[1])))
        elif line.strip() and not line.lstrip().startswith("#"):
            raise ValueError(f"not a pinned requirement: {line.strip()}")
    root = {
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": version,
        **_licences("Apache-2.0"),
    }
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{name} {version} {content}')}",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
    }


def _component(pin: "re.Match[str]", licence: str) -> dict[str, Any]:
    name, version, marker = pin[1], pin[2], pin[3]
    url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
        **_licences(licence),
        "properties": [] if marker is None else [{"name": "marker", "value": marker}],
    }


def _licences(licence: str) -> dict[str, Any]:
    """An expression of SPDX where it is one, else the words that the package declares."""
    if licence == UNKNOWN:
        return {}
    if re.fullmatch(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*", licence):
        return {"licenses": [{"expression": licence}]}
    return {"licenses": [{"license": {"name": licence}}]}


def installed_licence(name: str) -> str:
    """What the installed package declares, `UNKNOWN` where it declares nothing or is not installed here."""
    try:
        about: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    if expression := about.get("License-Expression"):
        return str(expression)
    for classifier in about.get_all("Classifier") or []:
        if classifier.startswith("License ::") and classifier != "License :: OSI Approved":
            return str(classifier).rsplit(" :: ", 1)[-1]
    licence = " ".join(str(about.get("License") or "").split())
    return licence if 0 < len(licence) <= 100 else UNKNOWN


def main() -> None:
    """Write the document and list the licences; with `--print` only print the document."""
    document = bill(
        REQUIREMENTS.read_text(), installed_licence, name="rushes", version=metadata.version("rushes")
    )
    if "--print" in sys.argv[1:]:
        print(json.dumps(document))
        return
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(document, indent=1) + "\n")
    by_licence: dict[str, list[str]] = {}
    for component in document["components"]:
        licences = component.get("licenses") or [{"expression": UNKNOWN}]
        words = licences[0].get("expression") or licences[0]["license"]["name"]
        by_licence.setdefault(words, []).append(component["name"])
    for words, names in sorted(by_licence.items()):
        print(f"{words}: {', '.join(names)}")
    print(f"{len(document['components'])} packages, written to {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
