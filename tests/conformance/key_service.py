"""The promises of ``aeterna_cli.stores.base.keys.KeyService``."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.keys import LARGEST_SECRET, KeyService

CONTEXT = b"deployment/backup-1"


class KeyServiceConformance:
    """Subclass it with a fixture ``make``: each call opens the same key anew; no key exists yet.

    And a fixture ``other``: a service whose key is another one.
    """

    @pytest.mark.parametrize("size", [1, 32, LARGEST_SECRET])
    def test_what_was_wrapped_is_unwrapped_by_another_session(
        self, make: Callable[[], KeyService], size: int
    ) -> None:
        make().ensure_key()
        secret = b"\xff" * size
        wrapped = make().wrap(secret, context=CONTEXT)
        assert make().unwrap(wrapped, context=CONTEXT) == secret

    def test_two_wraps_differ_and_hide_the_secret(self, make: Callable[[], KeyService]) -> None:
        service = make()
        service.ensure_key()
        one, two = (service.wrap(b"a very plain secret", context=CONTEXT) for _ in range(2))
        assert one.ciphertext != two.ciphertext
        assert one.key_id == two.key_id
        assert one.key_version == two.key_version == "1"
        assert "plain" not in repr(one)
        assert "plain" not in repr(service)

    def test_another_context_opens_nothing(self, make: Callable[[], KeyService]) -> None:
        service = make()
        service.ensure_key()
        wrapped = service.wrap(b"secret", context=CONTEXT)
        with pytest.raises(RefusedError) as caught:
            service.unwrap(wrapped, context=b"deployment/backup-2")
        assert caught.value.code == "unwrap_refused"

    def test_a_damaged_ciphertext_opens_nothing(self, make: Callable[[], KeyService]) -> None:
        service = make()
        service.ensure_key()
        wrapped = service.wrap(b"secret", context=CONTEXT)
        text = wrapped.ciphertext
        flipped = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
        for damaged in (flipped, text[:-8], text[:12], "", "no ciphertext at all", "ä"):
            with pytest.raises(RefusedError) as caught:
                service.unwrap(replace(wrapped, ciphertext=damaged), context=CONTEXT)
            assert caught.value.code == "unwrap_refused"

    def test_another_key_opens_nothing(
        self, make: Callable[[], KeyService], other: KeyService
    ) -> None:
        service = make()
        service.ensure_key()
        other.ensure_key()
        wrapped = service.wrap(b"secret", context=CONTEXT)
        foreign = other.wrap(b"secret", context=CONTEXT)
        assert foreign.key_id != wrapped.key_id
        with pytest.raises(RefusedError) as caught:
            service.unwrap(replace(foreign, key_id=wrapped.key_id), context=CONTEXT)
        assert caught.value.code == "unwrap_refused"

    def test_another_provider_is_named(self, make: Callable[[], KeyService]) -> None:
        service = make()
        service.ensure_key()
        wrapped = replace(service.wrap(b"secret", context=CONTEXT), provider="elsewhere")
        with pytest.raises(RefusedError) as caught:
            service.unwrap(wrapped, context=CONTEXT)
        assert caught.value.code == "wrapped_elsewhere"
        assert "elsewhere" in caught.value.message

    def test_ensuring_twice_keeps_the_key(self, make: Callable[[], KeyService]) -> None:
        make().ensure_key()
        wrapped = make().wrap(b"secret", context=CONTEXT)
        make().ensure_key()
        assert make().unwrap(wrapped, context=CONTEXT) == b"secret"

    def test_without_a_key_nothing_is_made_on_the_way(self, make: Callable[[], KeyService]) -> None:
        for _ in range(2):  # the first try must not have made it
            with pytest.raises(RefusedError) as caught:
                make().wrap(b"secret", context=CONTEXT)
            assert caught.value.code == "key_missing"
        findings = make().probe()
        assert ("key_missing", "error") in [(found.code, found.severity) for found in findings]

    def test_a_present_key_has_no_error(self, make: Callable[[], KeyService]) -> None:
        make().ensure_key()
        assert [found for found in make().probe() if found.severity == "error"] == []

    @pytest.mark.parametrize(
        ("secret", "context"),
        [(b"", CONTEXT), (b"x" * (LARGEST_SECRET + 1), CONTEXT), (b"x", b"")],
    )
    def test_a_broken_promise_is_a_programming_error(
        self, make: Callable[[], KeyService], secret: bytes, context: bytes
    ) -> None:
        service = make()
        service.ensure_key()
        with pytest.raises(ValueError, match="secret"):
            service.wrap(secret, context=context)
