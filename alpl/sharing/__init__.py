"""What the runs of a table make once and share."""
