"""An application that writes and reads a tenant's points, and judges what a move did to them.

It shares no code with what moves tenants: its verdict comes from its own log of what the servers
acknowledged, and from contents that it computes anew.
"""
