"""Raw CCD exposures to calibrated, stacked frames."""
