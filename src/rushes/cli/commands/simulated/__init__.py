"""Commands that need no provider: `rushes demo`, and the simulator behind a port with `rushes sim`."""
