"""What programs written for other services ask: the earlier service's paths, OpenAI's models and batches."""
