#!/usr/bin/env python3
"""verify.py DIR: verifies the tree of a log's folder with Python's standard library alone.

Shares no line with the program that wrote it: signed note and checkpoint, tiles and bundles as C2SP's signed-note,
tlog-checkpoint and tlog-tiles say, hashes as RFC 6962, section 2.1; then the chain of block leaves. Every file under
`tile/` is read, old partial ones too. Copy the folder, or stop its writer, first. Exit 0: all holds.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import ed25519

WIDTH = 256


class Broken(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Broken(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def fold(hashes):
    """RFC 6962's tree hash of some hashes: whole pairs row by row, a last odd one moves up."""
    while len(hashes) > 1:
        pairs = [sha256(b"\1", *hashes[i : i + 2]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2 :]
    return hashes[0] if hashes else sha256()


def read_checkpoint(folder):
    """Size and root that the key in `key` signed; each file has one spelling."""
    key = (folder / "key").read_text("utf-8")
    name, key_id, public = key.removesuffix("\n").split("+", 2)
    typed = base64.b64decode(public, validate=True)
    digest = sha256(name.encode(), b"\n", typed)[:4]
    require(key == f"{name}+{digest.hex()}+{base64.b64encode(typed).decode()}\n" and typed[0] == 1, "key: malformed")
    note = (folder / "checkpoint").read_text("utf-8")
    text, _, line = note.rpartition("\n\n")
    signature = base64.b64decode(line.split(" ")[-1].removesuffix("\n"))
    signed_by = f"\u2014 {name} {base64.b64encode(digest + signature[4:]).decode()}\n"
    require(line == signed_by, "checkpoint: the signature line is not this key's")
    require(ed25519.verify(typed[1:], f"{text}\n".encode(), signature[4:]), "checkpoint: the signature does not verify")
    origin, size, root = text.split("\n")
    root = base64.b64decode(root)
    exact = f"{name}\n{int(size)}\n{base64.b64encode(root).decode()}"
    require(text == exact and int(size) >= 0, "checkpoint: malformed, or of another origin")
    return origin, int(size), root


def path_of(level, index, width):
    name = f"{index % 1000:03}"
    while index := index // 1000:
        name = f"x{index % 1000:03}/{name}"
    return f"tile/{level}/{name}" + ("" if width == WIDTH else f".p/{width}")


def read_tile(folder, level, index, width):
    """The bytes of a tile; the full one stands in for a partial one that is gone."""
    partial = folder / path_of(level, index, width)
    return (partial if partial.exists() else folder / path_of(level, index, WIDTH)).read_bytes()


def split(bundle, count):
    entries, at = [], 0
    for _ in range(count):
        length = int.from_bytes(bundle[at : at + 2], "big")
        entries.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    require(at <= len(bundle), "it ends within an entry")
    return entries


def follow_block(body, index, leaf, last):
    """One link of the chain of blocks: `last` is height, hash, end and time of the block before."""
    height, prev, end, time = last
    require((body["height"], body["prev"]) == (height + 1, prev.hex()), "it does not continue the block before")
    require((body["first"], body["first"] + body["count"]) == (end, index), "it does not cover the entries since")
    require(body["time"] >= time and body["time"] % 60 == 0, "its time goes backwards or is no whole minute")
    return body["height"], leaf, index + 1, body["time"]


def verify(folder):
    origin, size, root = read_checkpoint(folder)
    levels, bundles, last = [[]], {}, (-1, bytes(32), 0, 0)
    for index in range(0, size, WIDTH):
        width = min(WIDTH, size - index)
        name = path_of("entries", index // WIDTH, width)
        try:
            entries = split(read_tile(folder, "entries", index // WIDTH, width), width)
            bundles[index // WIDTH] = entries
            for at, entry in enumerate(entries, index):
                name, leaf = f"entry {at}", sha256(b"\0", entry)
                levels[0].append(leaf)
                if entry.startswith(b'{"body":') and entry.endswith(b',"type":"block"}'):
                    last = follow_block(json.loads(entry)["body"], at, leaf, last)
        except (Broken, OSError, ValueError, KeyError, TypeError) as error:
            raise Broken(f"{name}: {error}") from error
    require(fold(levels[0]) == root, "checkpoint: its root is not the root of the entries")
    require(last[2] == size, "checkpoint: the last entry closes no block")
    while len(levels[-1]) >= WIDTH:
        below = levels[-1]
        levels.append([fold(below[at : at + WIDTH]) for at in range(0, len(below) // WIDTH * WIDTH, WIDTH)])
    expected = {}
    for level, hashes in enumerate(levels):
        for index in range(0, len(hashes), WIDTH):
            expected[level, index // WIDTH] = hashes[index : index + WIDTH]
    for index, entries in bundles.items():
        expected["entries", index] = [len(entry).to_bytes(2, "big") + entry for entry in entries]
    files = compare_files(folder, expected)
    return f"{origin}: {size} entries re-hashed, {last[0] + 1} blocks linked, {files} files compared, signature and root hold"


def compare_files(folder, expected):
    """Every file under `tile/` against the recomputed parts of its place; and that each place has its file."""
    seen = {}
    for path in sorted(path for path in (folder / "tile").rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        level, _, rest = name.removeprefix("tile/").partition("/")
        number, partial, width = rest.partition(".p/")
        try:
            place = (level if level == "entries" else int(level), int(number.replace("x", "").replace("/", "")))
            width = int(width) if partial else WIDTH
        except ValueError:
            raise Broken(f"{name}: no name of a tile") from None
        parts = expected.get(place, [])
        require(name == path_of(*place, width) and 0 < width <= len(parts), f"{name}: no tile of this log at its size")
        require(path.read_bytes() == b"".join(parts[:width]), f"{name}: it is not the recomputed tile")
        seen.setdefault(place, set()).add(width)
    for place, parts in expected.items():
        require(len(parts) in seen.get(place, ()), f"{path_of(*place, len(parts))}: the file is missing")
    return sum(map(len, seen.values()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(verify(Path(sys.argv[1])))
    except (Broken, OSError, ValueError) as error:
        print(f"BROKEN {error}", file=sys.stderr)
        sys.exit(1)
