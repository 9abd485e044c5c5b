"""What submit, rerun and resume do, step by step."""
