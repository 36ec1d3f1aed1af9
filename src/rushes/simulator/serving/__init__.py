"""The simulator behind a door: over real HTTP, or in process."""
