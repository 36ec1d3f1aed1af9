"""What programs written for OpenAI's Batch API ask."""
