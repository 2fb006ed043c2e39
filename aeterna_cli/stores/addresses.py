"""Addresses as profiles write them."""

from aeterna_cli.errors import UsageError


def split_address(text: str, port: int) -> tuple[str, int]:
    """``host``, ``host:port``, ``[address]:port`` or an IPv6 address; without a port the given
    one. ``UsageError('address_unreadable')`` for anything else."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        number = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    else:
        host, number = text, ""
    if number and not number.isdecimal():
        raise UsageError("address_unreadable", f"{text!r} is not host:port")
    return host, int(number or port)
