"""What customers gave: files to go into their videos, and files of requests."""
