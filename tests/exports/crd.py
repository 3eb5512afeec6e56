# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Holds SeccompProfile resources against seccompprofile.schema.json, and against the OCI profile of the same recordings.

    crd.py RESOURCE PROFILE    YAML by the package PyYAML, the schema by jsonschema; what is wrong ends it with 1
"""
import copy
import json
import os
import sys

import jsonschema
import yaml


def rules(syscalls):
    """What rules do: action and error number by name and arguments."""
    found = {}
    for rule in syscalls:
        for name in rule['names']:
            key = name, json.dumps(rule.get('args', []), sort_keys=True)
            if key in found:
                sys.exit(f'{name} twice')
            found[key] = rule['action'], rule.get('errnoRet')
    return found


def wrong(resource):
    """The resource, wrong in one thing each."""
    def change(where, name, value):
        one = copy.deepcopy(resource)
        place = one
        for key in where:
            place = place[key]
        place[name] = value
        return one

    rule = ['spec', 'syscalls', 0]
    return [
        change([], 'kind', 'Seccomp'), change([], 'apiVersion', 'v1'), change(['metadata'], 'name', 'Upper_case'),
        change(['spec'], 'defaultAction', 'ERRNO'), change(['spec'], 'defaultErrnoRet', 38),
        change(['spec'], 'architectures', ['x86_64']), change(rule, 'names', []), change(rule, 'action', 'allow'),
        change(rule, 'errnoRet', 5000), change(rule, 'args', [{'index': 6, 'op': 'SCMP_CMP_EQ'}]),
        change(rule, 'args', [{'index': 0, 'value': -1, 'op': 'SCMP_CMP_EQ'}]), change(rule, 'comment', 'why'),
    ]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    schema = json.load(open(os.path.join(here, 'seccompprofile.schema.json'), encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    resources = list(yaml.safe_load_all(open(sys.argv[1], encoding='utf-8')))
    profile = json.load(open(sys.argv[2], encoding='utf-8'))
    if len(resources) != 1:
        sys.exit(f'{len(resources)} documents')
    resource = resources[0]
    error = jsonschema.exceptions.best_match(validator.iter_errors(resource))
    if error is not None:
        sys.exit(f'{sys.argv[1]}: {"/".join(map(str, error.absolute_path))}: {error.message[:400]}')
    for one in wrong(resource):
        if validator.is_valid(one):
            sys.exit(f'taken for right: {json.dumps(one)[:400]}')
    spec = resource['spec']
    for member in ('defaultAction', 'architectures'):
        if spec.get(member) != profile.get(member):
            sys.exit(f'{member}: {spec.get(member)} instead of {profile.get(member)}')
    ours, theirs = rules(profile['syscalls']), rules(spec['syscalls'])
    for key in sorted(ours.keys() | theirs.keys()):
        # The resource has no defaultErrnoRet: rules may stand in for it.
        if ours.get(key) != theirs.get(key) and (key in ours or theirs[key][0] != 'SCMP_ACT_ERRNO'):
            sys.exit(f'{key}: {theirs.get(key)} instead of {ours.get(key)}')
    print(f'{resource["metadata"]["name"]}: {len(theirs)} rules')


main()
