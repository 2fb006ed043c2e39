"""Where a tenant's (a person's) data lives, in every store, and how it is selected there.

The map is built from what the live stores say of themselves, plus rules (``aeterna.toml``, extended
by the profile's ``datamap.rules``) for what no catalogue tells. Nothing here talks to a server:
``stores/`` reads catalogues and counts, this package decides what they mean.
"""
