# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Holds JSON output against docs/json.schema.json, by the package jsonschema.

    schema.py SCHEMA FILE...   every line of the files is as the schema has it, and has no member that the schema lacks
    schema.py SCHEMA --wrong   lines that are wrong in one thing each are refused; one that is right is not
"""
import copy
import json
import sys

import jsonschema


def strict(schema):
    """The same without members that are not named: ours must all be."""
    schema = copy.deepcopy(schema)

    def walk(node):
        if isinstance(node, dict):
            if 'properties' in node:
                node.setdefault('additionalProperties', False)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    return schema


CALL = {'type': 'call', 'ts': '1763889893500000000', 'pid': 791, 'tgid': 791, 'comm': 'ls', 'abi': 'x86_64', 'nr': 257,
        'name': 'openat', 'args': ['0xffffff9c', '0x7ffd12345670', '0', '0', '0', '0'], 'ret': -2, 'errno': 'ENOENT',
        'duration_ns': 2000}


def without(name):
    return {key: value for key, value in CALL.items() if key != name}


WRONG = [
    without('type'), without('ts'), without('pid'), without('comm'), without('abi'), without('nr'), without('args'),
    without('ret'),
    {**CALL, 'type': 'cal'}, {**CALL, 'ts': 1763889893500000000}, {**CALL, 'ts': '12.5'}, {**CALL, 'pid': '791'},
    {**CALL, 'abi': 'mips'}, {**CALL, 'args': CALL['args'][:5]}, {**CALL, 'args': [0] * 6},
    {**CALL, 'args': ['0XFF'] * 6}, {**CALL, 'ret': 1 << 53}, {**CALL, 'ret': 'x'}, {**CALL, 'ret': 1.5},
    {**CALL, 'errno': 2}, {**CALL, 'duration_ns': -1}, {**CALL, 'duration_ns': '2000'}, {**CALL, 'refused': False},
    {**CALL, 'unfinished': True}, {**CALL, 'refused': True}, {**CALL, 'arguments': {'flags': 0}},
    {**CALL, 'arguments': ['AT_FDCWD']}, {'type': 'lost', 'ts': '1', 'cpu': 0, 'from': '1', 'to': '2'},
    {'type': 'exit', 'ts': '1', 'pid': 1, 'comm': 'sh', 'status': 256},
    {'type': 'exit', 'ts': '1', 'pid': 1, 'comm': 'sh', 'status': 0, 'killed': True},
    {'type': 'recording', 'schema': 2}, {'type': 'end'}, {'type': 'summary', 'schema': 1}, [], 'call', None,
]
RIGHT = [
    CALL, without('tgid'), without('name'), without('duration_ns'), {**CALL, 'arguments': {'dirfd': 'AT_FDCWD'}},
    {**CALL, 'ret': '140245678901234567'}, {**CALL, 'member_of_tomorrow': 1},
]


def main():
    schema = json.load(open(sys.argv[1], encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    lenient, all_named = (jsonschema.Draft202012Validator(one) for one in (schema, strict(schema)))
    if sys.argv[2:] == ['--wrong']:
        for line in WRONG:
            if lenient.is_valid(line):
                sys.exit(f'taken for right: {line}')
        for line in RIGHT:
            lenient.validate(line)
        print(f'{len(WRONG)} wrong lines refused')
        return
    for path in sys.argv[2:]:
        kinds = {}
        for number, text in enumerate(open(path, encoding='utf-8'), 1):
            line = json.loads(text)
            if not lenient.is_valid(line) or not all_named.is_valid(line):
                error = jsonschema.exceptions.best_match(all_named.iter_errors(line))
                sys.exit(f'{path}:{number}: {error.message[:400]} in {text[:400]}')
            kinds[line['type']] = kinds.get(line['type'], 0) + 1
        print(' '.join(f'{kind} {count}' for kind, count in sorted(kinds.items())))


main()
