"""Where labels come from: how many and when (schedule), from whom (oracle), and what the model is sure of itself."""
