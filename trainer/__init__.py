"""The trainer: image code. It shares with the host the module ``manifests.schema`` only."""
