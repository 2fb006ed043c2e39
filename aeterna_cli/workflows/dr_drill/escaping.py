"""Words of scenarios and servers made harmless for where they are shown.

A title may hold markup, a terminal's control sequence, or characters that turn the direction of
writing: none of them may change what an auditor sees.
"""

import html
import re
import unicodedata
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")
#: nothing to see, or they reorder what is seen: control, format, surrogate, private, unassigned
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(value: Any) -> str:
    """One line of characters that can be seen; anything else is shown as U+FFFD."""
    text = "" if value is None else str(value)
    folded = text.replace("\n", " ").replace("\t", " ").replace("\r", " ")
    return "".join(
        "�" if unicodedata.category(character) in _UNSEEN else character for character in folded
    )


def clean(value: Any) -> Any:
    """JSON data that can be written as UTF-8: half a surrogate pair (a JSON answer or an argument
    may hold one) is shown as U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def in_html(value: Any) -> str:
    """Also for attributes in quotes, and for XML."""
    return html.escape(plain(value), quote=True)


def in_markdown(value: Any) -> str:
    """Inside a cell of a table as well."""
    return _MARKDOWN.sub(r"\\\1", plain(value))


def number(value: Any) -> str:
    """Seconds for people; a dash where there is none."""
    return "–" if value is None else f"{float(value):.2f} s"
