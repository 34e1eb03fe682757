"""The store's file: where it lies, who may read it, how large it is, and whether it is sound."""

import os
import shlex
import shutil
import stat
from typing import Any

from spendtree.cli import output
from spendtree.cli.doctor.finding import Section
from spendtree.errors import StoreError
from spendtree.money import format_usd
from spendtree.store import identity
from spendtree.store.health import Health, Held, examine
from spendtree.store.place import NETWORK_FILE_SYSTEMS, file_system, mount_points
from spendtree.store.space import WAL_LIMIT
from spendtree.store.sqlite import read_url
from spendtree.tree import iso

LOW_SPACE = 256 << 20
"""Bytes that should be free: a WAL may grow to a hundred MB before somebody can empty it."""

LARGE_WAL = 4 * WAL_LIMIT


def look(url: str) -> tuple[Section, Health | None]:
    """Look at the store of a URL; its health is None where there is nothing to look at."""
    section = Section(name="store", title="Store", facts={"url": url})
    if url == "memory:":
        section.note("memory: is gone with its process", "name a file: --store sqlite:///spend.db")
        return section, None
    try:
        if not url.startswith("sqlite:///"):
            raise StoreError(f"store {url!r}: the URL is `memory:` or `sqlite:///file.db`")
        path = os.path.realpath(read_url(url)[0])
    except StoreError as error:
        section.fail(str(error), "give --store, or set SPENDTREE_STORE")
        return section, None
    section.facts["path"] = path
    if not _place(section, path) or not _is_there(section, path):
        return section, None
    _sizes(section, path)
    _access(section, path)
    _names(section, path)
    return section, _health(section, path)


def _place(section: Section, path: str) -> bool:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        section.fail(f"there is no directory {directory}", f"mkdir -p {shlex.quote(directory)}")
        return False
    kind, free = file_system(directory), shutil.disk_usage(directory).free
    section.facts |= {"file_system": kind or None, "free_bytes": free}
    if kind in NETWORK_FILE_SYSTEMS:
        section.fail(
            f"{directory} is on {kind}, a network file system, where SQLite's locks do not hold",
            "put the store on a local disk, one for each host",
        )
    if free < LOW_SPACE:
        section.warn(f"only {output.size(free)} are free on its disk", "free some space")
    if not os.access(directory, os.W_OK | os.X_OK):
        section.fail(
            f"{directory} is not writable for this user: SQLite keeps files beside the store",
            "run this as the program's user, or change the directory's owner",
        )
    return True


def _is_there(section: Section, path: str) -> bool:
    if os.path.isdir(path):
        section.fail(f"{path} is a directory", "name a file in it")
        return False
    if not os.path.exists(path):
        section.note(f"{path} is not there yet", "the first session or call makes it")
        return False
    return True


def _sizes(section: Section, path: str) -> None:
    wal = path + "-wal"
    sizes = {
        "bytes": os.path.getsize(path),
        "wal_bytes": os.path.getsize(wal) if os.path.exists(wal) else 0,
    }
    kind = section.facts["file_system"]
    section.facts |= sizes
    section.ok(
        f"{path}: {output.size(sizes['bytes'])}, WAL {output.size(sizes['wal_bytes'])}"
        + (f", on {kind}" if kind else "")
    )
    if sizes["wal_bytes"] > LARGE_WAL:
        section.warn(
            f"the WAL has {output.size(sizes['wal_bytes'])}: something reads without an end",
            "find the process that keeps a read open (lsof), and end it",
        )


def _access(section: Section, path: str) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    section.facts["mode"] = f"{mode:04o}"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        section.warn(
            f"its mode is {mode:04o}: others on this host may see who spends what",
            f"chmod 600 {shlex.quote(path)}*",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        section.fail(
            "it is not readable and writable for this user", "run this as the program's user"
        )


def _names(section: Section, path: str) -> None:
    reason = identity.fault_at_opening(path, identity.trio(path), mount_points())
    if reason:
        problem, _, advice = reason.rpartition(": ")
        section.fail(f"{path}: {problem}", advice)


def _health(section: Section, path: str) -> Health | None:
    try:
        health = examine(path)
    except StoreError as error:
        section.fail(str(error), "see what it says; nothing was changed")
        return None
    section.facts |= {
        "id": health.id or None,
        "schema": health.schema,
        "known_schema": health.known_schema,
        "faults": list(health.faults),
    }
    if health.faults:
        told = "; ".join(health.faults)
        section.fail(
            f"SQLite finds it damaged: {told}",
            f"restore a copy, or: sqlite3 {shlex.quote(path)} .recover | sqlite3 new.db",
        )
        return None
    if not _schema(section, health):
        return None
    _holds(section, health)
    return health


def _schema(section: Section, health: Health) -> bool:
    schema, known = health.schema, health.known_schema
    if schema > known:
        section.fail(
            f"its schema is version {schema}, this Spendtree knows {known}",
            "upgrade this one: a newer Spendtree wrote it",
        )
    elif schema < known:
        section.note(
            f"its schema is version {schema} of {known}",
            "the next program that opens it upgrades it",
        )
    else:
        section.ok(f"sound, schema {schema}, store id {health.id}")
    return schema == known


def _holds(section: Section, health: Health) -> None:
    section.facts["holds"] = [_fields(each) for each in health.held]
    living = [each for each in health.held if each.dead is not True]
    if living:
        section.ok(f"{_sum(living)} open, of {output.plural(len(living), 'process', 'processes')}")
    elif not health.held:
        section.ok("no open holds")
    for each in health.held:
        if each.dead:
            since = output.moment(each.oldest)
            section.warn(
                f"{each.process} is dead and has {_sum([each])}, the oldest since {since} UTC",
                "they count as presumed once somebody needs the money; an exporter sees to it",
            )


def _sum(held: list[Held]) -> str:
    holds = sum(each.holds for each in held)
    amount = format_usd(sum(each.amount for each in held))
    return f"{output.plural(holds, 'hold')} of {amount}"


def _fields(held: Held) -> dict[str, Any]:
    return {
        "process": held.process,
        "dead": held.dead,
        "holds": held.holds,
        "held_usd": output.usd(held.amount),
        "oldest": iso(held.oldest),
    }
