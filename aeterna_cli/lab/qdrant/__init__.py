"""The lab's Qdrant: the server's REST API over the real Qdrant engine (``qdrant_edge``).

An emulation of one cluster peer, or with ``--peer-port`` of several in one process, started as
``python -m aeterna_cli.lab.qdrant``; every answer carries the header ``x-aeterna-lab``. It repeats
the real server's traps and is never more forgiving: what it does not know it refuses. Only this
process imports the modules of this package. What is not real of several peers:
``docs/adr/0008-emulated-qdrant-peers.md``.
"""
