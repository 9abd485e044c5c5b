"""This host: programs, git, images, GPUs, and where a run is placed."""
