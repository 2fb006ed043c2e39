"""One file per command of ``aeterna-cli tenant``, and the finding of the tenant that is meant."""
