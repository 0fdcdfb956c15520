"""What a report is made of: runs as variants over seeds, the paper's printed numbers, and which belong together."""
