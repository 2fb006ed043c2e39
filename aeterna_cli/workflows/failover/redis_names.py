"""A Redis node is called by its address: Redis gives no names."""

from aeterna_cli.stores.addresses import split_address
from aeterna_cli.stores.base.sentinel import Address


def named(address: Address) -> str:
    """``host:port``, an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(name: str) -> Address:
    """The other way round of ``named``."""
    return split_address(name, 6379)
