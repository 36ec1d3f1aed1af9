"""What a worker asks of providers besides polls: about lost submits, and to drop what was cancelled."""
