"""What leaves an installation, and how: `prune`, `erase`, `backup`."""
