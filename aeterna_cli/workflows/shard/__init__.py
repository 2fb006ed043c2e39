"""One file per command of ``aeterna-cli shard``."""
