"""Plain networks: backbones that give features, and the classification network that puts a head on one."""
