"""Gates of batches, and the verdicts on their clips."""
