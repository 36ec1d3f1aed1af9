"""Files that successes bring besides their videos."""
