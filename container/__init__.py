"""How the image is made and run: locks, store, build, SIF file, Singularity runtime.

The lowest layer of the host code: it imports nothing from ``manifests`` or ``jobtemplates``.
"""
