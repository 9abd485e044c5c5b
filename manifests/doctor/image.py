"""The image of a stack: is it built, and is it still what the build wrote?"""

from __future__ import annotations

from container.image import Image
from manifests.host.finding import Finding, ok


def image_finding(image: Image) -> Finding:
    """For an image that was read and has its recorded sha256; without one there is Trouble."""
    return ok(f"{image.path} ({image.size / 1e6:.0f} MB), sha256 {image.sha256} as recorded")
