"""Measuring a clip for the gate: decoded by PyAV (the extra `video`), a bounded number of frames."""
