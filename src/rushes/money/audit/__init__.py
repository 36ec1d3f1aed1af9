"""The audit: every promise about credits, tasks and batches, checked against the stored rows."""
