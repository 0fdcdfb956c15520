"""What a run leaves behind: its folder, its stages, its results read back."""
