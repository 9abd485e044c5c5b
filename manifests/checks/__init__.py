"""What `doctor` looks at, one noun per file: its facts, and the finding they lead to (pure).

:mod:`manifests.checks.looking` gathers; nothing else here asks the machine.
"""
