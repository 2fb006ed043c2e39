"""One file per command of ``aeterna-cli datamap``, and the building of the map that they share."""
