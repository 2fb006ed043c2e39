"""age recipients (``age1...``): public, and checked before anything is sealed for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aeterna_cli.errors import UsageError

if TYPE_CHECKING:
    from pyrage import x25519


def parse_recipients(recipients: Sequence[str]) -> "list[x25519.Recipient]":
    """``UsageError('recipient_invalid')`` where one is no ``age1...`` key, or there is none."""
    import pyrage

    if not recipients:
        raise UsageError("recipient_invalid", "nobody could open what is sealed for no recipient")
    try:
        return [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    except pyrage.RecipientError as error:
        raise UsageError(
            "recipient_invalid",
            "one of the recipients is not an age recipient",
            hint="a recipient begins with age1; a secret identity must never be given here",
        ) from error
