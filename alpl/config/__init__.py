"""Where the configs are, what of them makes a run's key, and parts that a config leaves unfinished."""
