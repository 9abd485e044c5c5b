"""Two runs compared: the verdict and its evidence."""
