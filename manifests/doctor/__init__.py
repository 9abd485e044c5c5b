"""The checks of a host and of an allocation."""
