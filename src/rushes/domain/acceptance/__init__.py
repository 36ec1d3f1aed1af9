"""What makes a clip acceptable: verdicts, the technical gate, and what is bought when a clip is rejected."""
