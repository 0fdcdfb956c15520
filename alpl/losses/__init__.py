"""Losses: pure functions that name their equation."""
