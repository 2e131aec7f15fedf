"""Simulated fields with exact truth, and simulated galaxies in real ones. Most of it needs the train extra."""
