"""Callbacks of a fit: those that provide something for an acquisition, and those that make a fit resumable."""
