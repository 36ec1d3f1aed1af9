"""When to poll next: the schedule, learned render times, progress."""
