"""What a user asked for: config files, resolved and checked."""
