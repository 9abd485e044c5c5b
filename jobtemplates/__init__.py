"""How a run is started: site profiles, job scripts, the launcher, one backend per scheduler."""
