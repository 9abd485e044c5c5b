"""The layers that networks are made of, on CPUs and by cuDNN."""
