"""Cutouts to classes."""
