"""Running tasks under a lease: `worker` is the lifecycle, `lane/` what happens to a task at its provider."""
