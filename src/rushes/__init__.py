"""rushes: runs batches of remote AI-video tasks to completion and settles prepaid credits exactly."""

__version__ = "0.1.0"
