"""Batches chosen together: diversity, balance and their combinations, as pure functions."""
