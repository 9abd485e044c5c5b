"""How the image is made and run: locks, store, build, SIF file, Singularity runtime.

The lowest storey of the host side: it imports nothing from ``manifests`` or ``jobtemplates``.
"""
