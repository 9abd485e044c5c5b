"""What ranks on GPUs need: device, contract, settings, facts, kernels."""
