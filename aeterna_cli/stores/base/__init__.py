"""What the rest of the house may ask of a store: one module per store, drivers beside this folder.

Common to all: methods raise the typed errors of ``aeterna_cli.errors`` and nothing else for faults
of the outside world (``TransientError``: unreachable, time-out, 5xx, throttled;
``AuthenticationError``: refused credentials or privileges; ``RemoteError``: an answer that should
not be; ``RefusedError``: a precondition). No message holds a secret. Nothing connects before the
first call.
"""
