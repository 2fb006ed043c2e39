"""Patroni as the lab runs it: ``python -m aeterna_cli.lab.ha.patroni_process CONFIGURATION``.

Patroni raises ``ttl`` below 20 s and ``retry_timeout`` below 3 s by itself. A lab waits for many
failovers, so here smaller values count, down to the ones that were measured to be stable. What is
replaced is private to Patroni 4.1, which is why that minor is pinned.
"""

from typing import Any

SHORTEST = {"ttl": 5, "retry_timeout": 2, "loop_wait": 1}


def allow_short_times() -> None:
    """Values down to ``SHORTEST`` are taken as they are."""
    from patroni.config import Config

    def adjusted(self: Any, config: dict[str, Any], name: str, _minimum: int) -> int:
        defaults = self._Config__DEFAULT_CONFIG
        value = max(int(config.get(name, defaults[name])), SHORTEST[name])
        config[name] = value
        return value

    attribute = "_Config__get_and_maybe_adjust_int_value"
    if not hasattr(Config, attribute):
        raise ImportError(f"Patroni's Config has no {attribute}: another version than 4.1?")
    setattr(Config, attribute, adjusted)


def main() -> None:
    from patroni.__main__ import main as patroni

    allow_short_times()
    patroni()


if __name__ == "__main__":
    main()
