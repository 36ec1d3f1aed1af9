"""Files that successes bring besides their videos, and how what is due is claimed."""
