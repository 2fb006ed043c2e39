"""The operations toolkit of Aeterna deployments."""

__version__ = "0.1.0"  # a constant: reading package metadata costs 50 ms at every start
