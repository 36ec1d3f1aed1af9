"""Measurements of rushes against its targets: `make bench`, or one part with `make bench ONLY=poll_times`."""
