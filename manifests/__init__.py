"""What a run is: configuration, snapshot, manifest, run directory, verification, comparison."""
