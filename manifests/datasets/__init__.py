"""Data on the host side: list files, fingerprints, the mean image, the digits set, the verbs."""
