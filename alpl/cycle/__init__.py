"""The stages of a cycle, one file each: what is trained, what is predicted, what an acquisition gets to see."""
