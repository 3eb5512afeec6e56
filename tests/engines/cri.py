#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One call of Kubernetes' container runtime interface, as the kubelet makes them: no package of Debian has crictl.

    cri.py SOCKET METHOD REQUEST

REQUEST and the response, which is printed, are JSON. The messages and their fields' numbers are those of
k8s.io/cri-api, pkg/apis/runtime/v1/api.proto; here are only those that the tests use.
"""
import json
import sys

import grpc

# Message -> field -> number and type: text, number, map (of texts), another message; in a list when repeated.
MESSAGES = {
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "text")},
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"), "hostname": (2, "text"), "log_directory": (3, "text"),
        "labels": (6, "map"), "annotations": (7, "map"), "linux": (8, "LinuxPodSandboxConfig"),
    },
    "PodSandboxMetadata": {"name": (1, "text"), "uid": (2, "text"), "namespace": (3, "text"), "attempt": (4, "number")},
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "text"), "security_context": (2, "LinuxSandboxSecurityContext")},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption")},
    "NamespaceOption": {"network": (1, "number"), "pid": (2, "number"), "ipc": (3, "number")},
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, "text"), "config": (2, "ContainerConfig"), "sandbox_config": (3, "PodSandboxConfig"),
    },
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, ["text"]),
        "args": (4, ["text"]), "working_dir": (5, "text"), "envs": (6, ["KeyValue"]), "labels": (9, "map"),
        "annotations": (10, "map"), "log_path": (11, "text"), "CDI_devices": (17, ["CDIDevice"]),
    },
    "ContainerMetadata": {"name": (1, "text"), "attempt": (2, "number")},
    "ImageSpec": {"image": (1, "text")},
    "KeyValue": {"key": (1, "text"), "value": (2, "text")},
    "CDIDevice": {"name": (1, "text")},
    "ExecSyncRequest": {"container_id": (1, "text"), "cmd": (2, ["text"]), "timeout": (3, "number")},
    "StopContainerRequest": {"container_id": (1, "text"), "timeout": (2, "number")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "text")},
    "CreateContainerResponse": {"container_id": (1, "text")},
    "ExecSyncResponse": {"stdout": (1, "text"), "stderr": (2, "text"), "exit_code": (3, "number")},
}
for verb in ("StartContainer", "RemoveContainer"):
    MESSAGES[verb + "Request"] = {"container_id": (1, "text")}
for verb in ("StopPodSandbox", "RemovePodSandbox"):
    MESSAGES[verb + "Request"] = {"pod_sandbox_id": (1, "text")}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def encode(kind, value):
    if kind not in ("text", "number", "map"):
        fields = MESSAGES[kind]
        value = b"".join(field(*fields[name], part) for name, part in value.items())
    elif kind == "text":
        value = value.encode()
    return value


def field(number, kind, value):
    if isinstance(kind, list):
        return b"".join(field(number, kind[0], one) for one in value)
    if kind == "map":
        return field(number, ["KeyValue"], [{"key": key, "value": text} for key, text in value.items()])
    if kind == "number":
        return varint(number << 3) + varint(value)
    value = encode(kind, value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def decode(kind, data):
    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    names = {number: name for name, (number, _) in MESSAGES.get(kind, {}).items()}
    at, found = 0, {}
    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = data[at:at + value].decode(errors="replace"), at + value
        if tag >> 3 in names:
            found[names[tag >> 3]] = value
    return found


def main():
    socket, method, request = sys.argv[1:]
    with grpc.insecure_channel("unix:" + socket) as channel:
        call = channel.unary_unary("/runtime.v1.RuntimeService/" + method)
        try:
            response = call(encode(method + "Request", json.loads(request)), timeout=50)
        except grpc.RpcError as why:
            sys.exit(f"{method}: {why.code().name}: {why.details()}")
    print(json.dumps(decode(method + "Response", response)))


main()
