"""What is checked before any training: names and arguments of the config, the parts against each other, a rehearsal."""
