"""Real schedulers for the tests: in private folders, on free ports, stopped by their pids."""
