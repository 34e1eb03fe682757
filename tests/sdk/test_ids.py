"""Ids are UUIDs of version 7: ordered by time, and from the system's randomness alone."""

import random
import time
import uuid

from spendtree.ids import new_id


def test_an_id_is_a_uuid_of_version_7_and_the_rfc_variant() -> None:
    for _ in range(1_000):
        id = uuid.UUID(bytes=new_id())
        assert id.version == 7
        assert id.variant == uuid.RFC_4122


def test_an_id_tells_its_millisecond() -> None:
    ns = 1_700_000_000_123_456_789
    assert int.from_bytes(new_id(ns)[:6], "big") == 1_700_000_000_123


def test_an_id_is_made_now_unless_a_time_is_given() -> None:
    before = time.time_ns() // 1_000_000
    made = int.from_bytes(new_id()[:6], "big")
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_sort_later() -> None:
    ids = [new_id(1_700_000_000_000_000_000 + ms * 1_000_000) for ms in range(500)]
    assert ids == sorted(ids)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1_700_000_000_000_000_000) for _ in range(10_000)}) == 10_000


def test_every_random_bit_varies() -> None:
    ids = [int.from_bytes(new_id(0), "big") for _ in range(200)]
    ones = zeros = 0
    for id in ids:
        ones |= id
        zeros |= ~id
    random_bits = ((1 << 12) - 1) << 64 | (1 << 62) - 1
    assert ones & zeros & ((1 << 128) - 1) == random_bits


def test_seeding_pythons_generator_does_not_repeat_an_id() -> None:
    random.seed(1)
    first = new_id(0)
    random.seed(1)
    assert new_id(0) != first
