"""Measurements as ratios in one run: ``make bench``. Nothing here is asserted in a test."""
