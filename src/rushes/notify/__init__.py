"""Events out: signed webhooks from the outbox, with retries of their own."""
