"""The command line: one file per group of verbs, and how output looks on a terminal."""
