"""Where a run runs: files, signals, processes, clusters, random numbers, the terminal."""
