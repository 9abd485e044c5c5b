"""A page on runs, for people who have a browser and nothing else."""
