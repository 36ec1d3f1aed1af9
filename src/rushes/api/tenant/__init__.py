"""What tenants steer by themselves: webhook endpoints, keys, the event log, usage."""
