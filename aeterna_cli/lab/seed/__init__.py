"""Data for the lab: tenants of different size, the same for the same seed and scale."""
