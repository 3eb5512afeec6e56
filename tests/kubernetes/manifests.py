# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Makes what `kubectl apply -k DIR` would send, and holds it against the schemas that Kubernetes publishes.

    manifests.py VERSION[,VERSION...] DIR|FILE...

Knows of kustomize what our files use: resources, strategic merge patches, configMapGenerator from files (without the hash
of the contents in the name). Prints all objects, one a line in JSON; whatever else there is in a kustomization.yaml, or is
wrong, ends it with an error.
"""
import json
import os
import sys

import kubernetes_validate
import yaml

# What members of lists are told apart by (`patchMergeKey` in Kubernetes' types).
KEYS = {"containers": "name", "initContainers": "name", "volumes": "name", "volumeMounts": "mountPath"}


def load(path):
    with open(path, encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


def merge(base, patch, name=""):
    if isinstance(base, dict) and isinstance(patch, dict):
        for key, value in patch.items():
            base[key] = merge(base[key], value, key) if key in base else value
        return base
    if isinstance(base, list) and isinstance(patch, list) and name in KEYS:
        new = []
        for item in patch:
            found = [one for one in base if one[KEYS[name]] == item[KEYS[name]]]
            if found:
                merge(found[0], item)
            else:
                new.append(item)
        # As kustomize has them: in front.
        return new + base
    return patch


def identity(thing):
    return thing["kind"], thing["metadata"]["name"]


def build(directory):
    (own,) = load(os.path.join(directory, "kustomization.yaml"))
    known = {"apiVersion", "kind", "namespace", "resources", "patches", "configMapGenerator"}
    assert set(own) <= known, set(own) - known
    things = []
    for name in own["resources"]:
        path = os.path.join(directory, name)
        things += build(path) if os.path.isdir(path) else load(path)
    for patch in own.get("patches", []):
        assert set(patch) == {"path"}, patch
        for change in load(os.path.join(directory, patch["path"])):
            (target,) = [thing for thing in things if identity(thing) == identity(change)]
            merge(target, change)
    for made in own.get("configMapGenerator", []):
        data = {}
        for name in made["files"]:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                data[name] = file.read()
        metadata = {"name": made["name"], "namespace": made["namespace"]}
        things.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return things


def main():
    for path in sys.argv[2:]:
        for thing in build(path) if os.path.isdir(path) else load(path):
            for version in sys.argv[1].split(","):
                kubernetes_validate.validate(thing, version, strict=True)
            print(json.dumps({"from": os.path.basename(path), "object": thing}))


main()
