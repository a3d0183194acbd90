#!/usr/bin/env python3
"""foreign.py DIR SIZE|FAULT: writes a log as another implementation would, from C2SP's tlog-tiles alone.

With a size: entries that are no JSON, of many lengths, under a checkpoint with an extension line and the signature of a
witness that nobody knows. With a fault (`none`, `height`, `prev`, ..): two blocks, rightly hashed and signed, whose chain
is broken there. Prints the verifier key.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import ed25519
from verify import WIDTH, fold, path_of, sha256


def write_log(folder, origin, entries, extension="", signers=()):
    """Tiles, bundles, checkpoint and key."""
    levels = [[sha256(b"\0", entry) for entry in entries]]
    root = fold(levels[0])
    while len(levels[-1]) >= WIDTH:
        below = levels[-1]
        levels.append([fold(below[at : at + WIDTH]) for at in range(0, len(below) // WIDTH * WIDTH, WIDTH)])
    tiles = dict(enumerate(levels))
    tiles["entries"] = [len(entry).to_bytes(2, "big") + entry for entry in entries]
    for level, parts in tiles.items():
        for at in range(0, len(parts), WIDTH):
            tile = parts[at : at + WIDTH]
            path = folder / path_of(level, at // WIDTH, len(tile))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(tile))
    text = f"{origin}\n{len(entries)}\n{base64.b64encode(root).decode()}\n{extension}"
    lines, key = "", ""
    for number, name in enumerate([*signers, origin]):
        public, signature = ed25519.sign(bytes([number + 7]) * 32, text.encode())
        typed = b"\1" + public
        key_id = sha256(name.encode(), b"\n", typed)[:4]
        lines += f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n"
        key = f"{name}+{key_id.hex()}+{base64.b64encode(typed).decode()}"
    (folder / "checkpoint").write_text(f"{text}\n{lines}", "utf-8")
    (folder / "key").write_text(f"{key}\n", "utf-8")
    print(key)


def opaque(index):
    return hashlib.sha256(b"entry %d" % index).digest()[: index % 33] * (1500 if index % 97 == 96 else 1)


WRONG = {
    "height": {"height": 2},
    "prev": {"prev": "00" * 32},
    "first": {"first": 2},
    "count": {"count": 1},
    "time": {"time": 1140},
    "minute": {"time": 1261},
}


def chain(fault):
    """Two batches of two entries with their block leaves, wrong in one thing."""
    canonical = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    entries, prev = [], bytes(32)
    for height in range(2):
        body = {"height": height, "prev": prev.hex(), "first": len(entries), "count": 2, "time": 1200 + 60 * height}
        if height == 1 and fault in WRONG:
            body.update(WRONG[fault])
        entries += [canonical({"body": {"n": n}, "type": "x"}) for n in range(2)]
        entries.append(canonical({"body": body, "type": "block"}))
        prev = sha256(b"\0", entries[-1])
    return entries[:-1] if fault == "open" else entries


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, what = Path(sys.argv[1]), sys.argv[2]
    if what.isdecimal():
        entries = [opaque(index) for index in range(int(what))]
        write_log(folder, "other.example/log", entries, "extension line\n", ["witness.example"])
    else:
        write_log(folder, "chain.example/log", chain(what))
