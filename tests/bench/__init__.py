"""Measurements as ratios in one run: ``make bench``. Nothing here is asserted as a time in a test."""
