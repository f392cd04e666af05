#!/usr/bin/env python3
"""Checks every resource in infra/ against the official Azure types: unknown, missing and read-only
properties, wrong literals, unknown versions. Needs a download, so it is no part of `cargo test`:

    pip install tree-sitter==0.25.2 tree-sitter-bicep==1.1.0 dnfile
    npm pack @azure/mcp-linux-x64@0.5.13      # MIT; carries Azure.Bicep.Types.Az.dll, which is read, never run
    tar xzf azure-mcp-linux-x64-0.5.13.tgz package/dist/Azure.Bicep.Types.Az.dll
    python3 scripts/bicep_types.py package/dist/Azure.Bicep.Types.Az.dll

Prints what is wrong, and fails if anything is.
"""

import glob
import json
import sys
import zlib
from pathlib import Path

import dnfile
import tree_sitter_bicep
from tree_sitter import Language, Parser

ROOT = Path(__file__).resolve().parent.parent
BLOBS = {str(one.name): one.data for one in dnfile.dnPE(sys.argv[1]).net.resources}
FOUND = []


def load(name):
    return json.loads(zlib.decompress(BLOBS[name], -15))


INDEX = {name.lower(): entry["$ref"] for name, entry in load("index.json.deflated")["resources"].items()}
FILES = {}


def types(path):
    if path not in FILES:
        FILES[path] = load(path + ".deflated")
    return FILES[path]


def follow(path, reference):
    file, number = reference["$ref"].split("#/")
    return file or path, types(file or path)[int(number)]


def kids(node):
    return [child for child in node.named_children if child.type != "comment"]


def written(node):
    return node.text.decode().strip("'")


def wrong(where, what):
    FOUND.append(f"{where}: {what}")


def properties(kind, node, where):
    """The properties that an object may have; None where its discriminator makes no sense."""
    if kind["$type"] == "ObjectType":
        return dict(kind["properties"])
    known, chosen = dict(kind["baseProperties"]), None
    for one in kids(node):
        if one.type == "object_property" and written(kids(one)[0]) == kind["discriminator"]:
            chosen = written(kids(one)[-1])
    if chosen not in kind["elements"]:
        wrong(where, f"{kind['discriminator']} must be one of {list(kind['elements'])}")
        return None
    return known, kind["elements"][chosen]


def check_object(path, kind, node, where):
    found = properties(kind, node, where)
    if found is None:
        return
    if isinstance(found, tuple):
        found, element = found
        found.update(follow(path, element)[1]["properties"])
    seen = set()
    for one in kids(node):
        if one.type != "object_property":
            continue
        name, value = written(kids(one)[0]), kids(one)[-1]
        seen.add(name)
        if name in ("scope", "parent", "dependsOn") or "${" in name:
            continue
        if name in found:
            if found[name].get("flags", 0) & 2:
                wrong(f"{where}.{name}", "is read-only")
            check(*follow(path, found[name]["type"]), value, f"{where}.{name}")
        elif kind.get("additionalProperties"):
            check(*follow(path, kind["additionalProperties"]), value, f"{where}.{name}")
        else:
            wrong(f"{where}.{name}", f"is unknown; known are {sorted(found)}")
    for name, one in found.items():
        if one.get("flags", 0) & 1 and name not in seen and name != "name":
            wrong(f"{where}.{name}", "is missing")


def check(path, kind, node, where):
    sort = kind["$type"]
    if sort == "ResourceType":
        check(*follow(path, kind["body"]), node, where)
    elif node.type == "ternary_expression":
        for side in kids(node)[1:]:
            check(path, kind, side, where)
    elif sort in ("ObjectType", "DiscriminatedObjectType") and node.type == "object":
        check_object(path, kind, node, where)
    elif sort == "ArrayType" and node.type == "array":
        for element in kids(node):
            check(*follow(path, kind["itemType"]), element, f"{where}[]")
    elif sort == "UnionType" and node.type == "string" and "${" not in written(node):
        allowed = [follow(path, one)[1].get("value") for one in kind["elements"]]
        if written(node) not in allowed:
            wrong(where, f"{written(node)} is none of {allowed}")
    elif sort == "StringLiteralType" and node.type == "string" and written(node) != kind["value"]:
        wrong(where, f"must be {kind['value']}")
    else:
        literals = {"StringType": "string", "IntegerType": "number", "BooleanType": "boolean", "ArrayType": "array"}
        if node.type in (*literals.values(), "object") and sort in literals and node.type != literals[sort]:
            wrong(where, f"must be a {literals[sort]}")


def main():
    parser, count = Parser(Language(tree_sitter_bicep.language())), 0
    for file in sorted(glob.glob(str(ROOT / "infra/**/*.bicep"), recursive=True)):
        for one in parser.parse(Path(file).read_bytes()).root_node.children:
            if one.type != "resource_declaration":
                continue
            name, kind, body = kids(one)[0].text.decode(), written(kids(one)[1]), kids(one)[-1]
            where = f"{Path(file).name}:{name}"
            while body.type in ("if_statement", "for_statement"):
                body = kids(body)[-1]
            if kind.lower() not in INDEX:
                wrong(where, f"there is no type {kind}")
            elif not any(child.type == "existing" for child in one.children):
                path, number = INDEX[kind.lower()].split("#/")
                check(path, types(path)[int(number)], body, where)
                count += 1
    print(*FOUND, f"{count} resources, {len(FOUND)} findings", sep="\n")
    return 1 if FOUND else 0


if __name__ == "__main__":
    sys.exit(main())
