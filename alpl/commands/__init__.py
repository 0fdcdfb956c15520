"""The console scripts, one file each, and what only they share."""
