"""What users hand in: files of prompts, templates and their variables."""
