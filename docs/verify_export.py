#!/usr/bin/env python3
"""Recomputes the proof in `annals export --proof --format ndjson`: docs/INTEGRITY.md in another language.

usage: verify_export.py EXPORT [PARTITION:SEQUENCE:DIGEST ...]   (digests that were kept elsewhere)
"""
import base64, hashlib, hmac, json, sys


def field(data):
    data = data if isinstance(data, bytes) else str(data).encode()
    return len(data).to_bytes(8, "big") + data


def fail(where, what):
    sys.exit(f"NOT VERIFIED: {where}: {what}")


def event_digest(line):
    message = field("annals-event-1") + field(line["partition"]) + field(line["key"])
    salt = b""
    for name, kind, value in sorted(line["properties"]):
        value = base64.b64decode(value) if kind == "b" else value
        if name == "Salt":
            salt = value
        elif name != "Digest":
            message += field(name) + kind.encode() + field(value)
    return hmac.new(salt, message, hashlib.sha256).hexdigest()


def main(path, anchors):
    table, ends, expected, rows, erased = None, {}, {}, {}, 0
    for line in map(json.loads, open(path, encoding="utf-8")):
        if line["kind"] == "log":
            table = line["table"]
        elif line["kind"] == "commit":
            part, first, last = line["partition"], line["first"], line["last"]
            genesis = hashlib.sha256(field("annals-genesis-1") + field(table) + field(part)).hexdigest()
            end, digest = ends.get(part, (0, genesis))
            essentials = base64.b64decode(line["essentials"])
            fields = [bytes.fromhex(digest), part, first, last, line["recorded"], line["attempt"], essentials]
            computed = hashlib.sha256(field("annals-commit-1") + b"".join(map(field, fields))).hexdigest()
            if (first, line["previous"], line["digest"]) != (end + 1, digest, computed):
                fail(f"{part} commit {last}", f"expected first {end + 1}, previous {digest}, digest {computed}")
            events = json.loads(essentials)
            if [event["sequence"] for event in events] != list(range(first, last + 1)):
                fail(f"{part} commit {last}", "its events are not the sequences that it names")
            for event in events:
                expected[part, event["sequence"]] = event["digest"]
                if event["type"] == "annals.erasure.erased" and event["category"] == "erasure":
                    said, erased = event["data"], erased + 1
                    place = part, int(said["erasedSequence"])
                    if expected.get(place) != said["erasedDigestBefore"]:
                        fail(f"{part} sequence {event['sequence']}", "an erasure of a row that was not there")
                    expected[place] = said["erasedDigest"]
            ends[part] = last, computed
            if f"{part}:{last}" in anchors and anchors.pop(f"{part}:{last}") != computed:
                fail(f"{part} commit {last}", "another digest than the one that was kept")
        elif line["kind"] == "event":
            rows[line["partition"], line["sequence"]] = event_digest(line)
    for place in sorted(expected.keys() | rows.keys()):
        if expected.get(place) != rows.get(place):
            fail(f"{place[0]} sequence {place[1]}", f"expected {expected.get(place)}, found {rows.get(place)}")
    if anchors:
        fail("checkpoints", f"the log does not reach {sorted(anchors)}")
    print(f"verified: {len(rows)} events, {erased} erasures; " + ", ".join(f"{p} {e} {d}" for p, (e, d) in sorted(ends.items())))


if __name__ == "__main__":
    main(sys.argv[1], {anchor.rsplit(":", 1)[0]: anchor.rsplit(":", 1)[1] for anchor in sys.argv[2:]})
