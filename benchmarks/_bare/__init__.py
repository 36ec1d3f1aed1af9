"""The HTTP client of commit 518294f, unchanged: engines are measured against it, so the aim does not move."""
