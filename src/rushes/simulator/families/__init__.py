"""The wire formats that the simulator speaks, one file for each family of providers."""
