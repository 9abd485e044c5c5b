"""Descriptions of a run in forms that others know; see docs/crate.md."""
