"""The built-in providers, one file each. Nothing but an entry point names them."""
