"""Making a release: version, changelog, packages, bill of materials. `make release` and `make sbom`."""
