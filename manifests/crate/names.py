"""Names of the files that describe a run for other tools; imports nothing that is slow"""

SBOM = "image.cdx.json"
CROISSANT = "croissant.json"
RO_CRATE = "ro-crate-metadata.json"

DESCRIPTIONS = (SBOM, CROISSANT, RO_CRATE)
