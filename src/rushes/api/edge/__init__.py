"""What every request passes: keys, limits, bodies, problem documents, the server itself."""
