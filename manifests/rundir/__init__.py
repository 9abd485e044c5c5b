"""Run directories: made, read, verified, and their jobs asked for."""
