"""The bill of materials names every pinned requirement, its version, hashes and licence."""

import re

import pytest
from release import sbom

PINS = """\
# a comment
anyio==4.16.0 \\
    --hash=sha256:59bb03251907983d1603d27c3087ddb1e93299ea2163adcdba37899a4fb12ffb \\
    --hash=sha256:c66ae634e0b8228396b801741beb3294326d4b6102f7bba4041c0dfb58c29026
Some_Thing[binary]==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:046bfc24911b37851ee1b51aab8bffe713d89c68c6a057b09484ce9fd5f69b4e
"""


def test_every_pin_is_a_component_with_its_hashes_and_licence() -> None:
    licences = {"anyio": "MIT", "Some_Thing": "A licence, of its own"}
    document = sbom.bill(PINS, licences.__getitem__, name="rushes", version="1.0")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    first, second = document["components"]
    assert (first["purl"], first["licenses"]) == ("pkg:pypi/anyio@4.16.0", [{"expression": "MIT"}])
    assert [each["value"][:4] for each in first["properties"]] == ["59bb", "c66a"]
    assert second["purl"] == "pkg:pypi/some-thing@2.0"
    assert second["properties"][0] == {"name": "marker", "value": "sys_platform != 'win32'"}
    assert second["licenses"] == [{"license": {"name": "A licence, of its own"}}]
    assert document == sbom.bill(PINS, licences.__getitem__, name="rushes", version="1.0")
    other = sbom.bill(PINS.replace("4.16.0", "4.16.1"), licences.__getitem__, name="rushes", version="1.0")
    assert other["serialNumber"] != document["serialNumber"]


def test_all_that_is_pinned_here_is_in_it() -> None:
    requirements = sbom.REQUIREMENTS.read_text()
    document = sbom.bill(requirements, sbom.installed_licence, name="rushes", version="1.0")
    assert len(document["components"]) == len(re.findall("==", re.sub(r";.*", "", requirements))) > 30
    assert len({component["purl"] for component in document["components"]}) == len(document["components"])
    assert all(
        any(each["name"] == "distribution:sha256" for each in component["properties"])
        for component in document["components"]
    )
    declared = [component for component in document["components"] if "licenses" in component]
    assert len(declared) > 0.9 * len(document["components"])


def test_a_requirement_without_a_pin_is_refused() -> None:
    with pytest.raises(ValueError, match="not a pinned requirement: anyio>=4"):
        sbom.bill("anyio>=4\n", lambda _name: "MIT", name="rushes", version="1.0")
