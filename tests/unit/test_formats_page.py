"""The digests as ``docs/formats.md`` describes them, written anew, against ours."""

import struct
from hashlib import blake2b
from uuid import UUID

from aeterna_cli.stores.qdrant_digests import point_hash
from aeterna_cli.stores.redis_digests import Tally
from aeterna_cli.stores.redis_values import Value


def h(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def parts(*items: bytes) -> bytes:
    return b"".join(str(len(item)).encode() + b":" + item for item in items)


def test_a_point_of_qdrant() -> None:
    name = UUID("2b9edaa7-2e76-54ab-9db3-54ec8fa3365e")
    vectors = {"b": {"indices": [7, 2], "values": [0.5, 0.25]}, "a": [1.0, 2.0], "c": [[3.0]]}
    data = b"u" + name.bytes + struct.pack("<I", 3)
    data += struct.pack("<I", 1) + b"a" + b"d" + struct.pack("<I2f", 2, 1.0, 2.0)
    data += struct.pack("<I", 1) + b"b" + b"s" + struct.pack("<I2f2I", 2, 0.25, 0.5, 2, 7)
    data += struct.pack("<I", 1) + b"c" + b"m" + struct.pack("<IIf", 1, 1, 3.0)
    data += '{"a":"ü","b":{"x":1,"y":null}}'.encode()
    payload = {"b": {"y": None, "x": 1}, "a": "ü"}
    assert point_hash(name, vectors, payload) == int.from_bytes(h(data), "little")
    unnamed = b"i" + struct.pack("<Q", 5) + struct.pack("<II", 1, 0) + b"d"
    unnamed += struct.pack("<If", 1, 0.5) + b"{}"
    assert point_hash(5, [0.5], None) == int.from_bytes(h(unnamed), "little")


def test_keys_of_redis() -> None:
    tally, hour = Tally(), 3_600_000
    tally.add(3, b"name", -1, Value(b"string", h(b"value")))
    tally.add(0, b"gone:soon", 2 * hour, Value(b"list", h(parts(b"a", b"bc"))))
    field = h(parts(b"field", b"value"))
    tally.add(0, b"of:fields", -1, Value(b"hash", None, ((hour + 1, field),)))
    found = tally.result()

    def digest(data: bytes) -> str:
        return f"{int.from_bytes(h(data), 'little'):064x}"

    lasting = b"3:" + parts(b"name", b"string") + b"k" + h(b"value") + b"-1"
    listed = b"0:" + parts(b"gone:soon", b"list") + b"k" + h(parts(b"a", b"bc")) + b"7200000"
    single = b"0:" + parts(b"of:fields") + b"-1" + b"f" + field + b"3600001"
    assert (found.persistent.items, found.persistent.digest) == (1, digest(lasting))
    assert found.volatile_by_hour[2].digest == digest(listed)
    assert found.volatile_by_hour[1].digest == digest(single)
