# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Knows how prototypes, kinds and sets of constants become src/syscalls/args_table.rs and sets_table.rs.

Read by `generate`. arguments.txt (prototypes) and constants.txt (values) are snapshots of the kernel's headers;
prototypes.txt, kinds.txt and sets.txt are written by hand.
"""
import glob
import os
import re
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ABIS = ["x86_64", "i386", "aarch64", "arm"]
TRIPLETS = dict(zip(ABIS, ["x86_64-linux-gnu", "i386-linux-gnu", "aarch64-linux-gnu", "arm-linux-gnueabihf"]))

# Kinds that are no set, and what each is. Sets come behind them, from FIRST_SET on.
BASE = {
    "signed": "A number with a sign.",
    "unsigned": "A number without a sign.",
    "hex": "A number that is read in hexadecimal.",
    "ptr": "An address.",
    "str": "The address of a string.",
    "strs": "The address of an array of addresses of strings, with NULL at its end.",
    "in": "The address of bytes for the kernel, as many as the next argument says.",
    "out": "The address of room for bytes from the kernel, as many as the result says.",
    "fd": "A file descriptor.",
    "dirfd": "A file descriptor of a directory, or `AT_FDCWD`.",
    "mode": "Permissions, in octal.",
    "sig": "A signal.",
    "dev": "A device, as `mknod` takes it.",
    "uid": "A user or group; -1 is none.",
    "key": "A key of System V IPC.",
    "keyserial": "A key's serial number, or a special keyring.",
    "pgoff": "An offset in units of 4096 bytes.",
    "filemode": "Type of file and permissions.",
    "quotacmd": "Command and type of quota.",
    "oflags": "Flags of `open` without the access mode.",
}
# Sets with something more in the value than names, which the code knows; see `special` in src/report/values.rs.
KNOWN_SETS = ["open", "fdflags", "seal", "lease", "clock", "cpuclock", "key_spec", "filetype", "ioprio", "ipc_get", "shmget",
              "ioctl", "quota", "quotatype", "clone", "personality", "dumpable", "securebits", "futex", "mmap",
              "memfd", "sched", "membarrier", "swapon",
              "domain", "pr_spec_state", "seccomp_mode"]
# Calls that the code knows.
KNOWN_CALLS = ["clone", "mremap", "open", "openat", "mknod", "mknodat", "_llseek", "mq_open", "umask", "fcntl",
               "fcntl64", "prctl", "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6",
               "pselect6_time64", "personality", "sched_getscheduler", "ioprio_get", "reboot",
               "membarrier", "recvmmsg", "recvmmsg_time64"]
FIRST_SET = 32
# How wide an argument is: an int, a register, 64 bits in as many registers as it takes, two registers always.
WIDTHS = {"": 0, "l": 1, "p": 2, "two": 3}
SHORT = {"int": "signed", "long": "signed.l", "uint": "unsigned", "ulong": "unsigned.l", "hex": "hex.l",
         "hex32": "hex", "off": "signed.p", "pos": "signed.two",
         "ptr": "ptr.l", "str": "str.l", "strs": "strs.l", "in": "in.l", "out": "out.l"}
DESCRIPTORS = set("fd fildes oldfd newfd epfd ufd fd_in fd_out fdin fdout in_fd out_fd pidfd group_fd ruleset_fd fs_fd "
                  "fanotify_fd mqdes kernel_fd initrd_fd".split())
DIRECTORIES = set("dfd olddfd newdfd from_dfd to_dfd mountdirfd".split())

# What the uapi headers are included in to evaluate constants. Those that come in each other's way are in the second list.
INCLUDES = """asm/fcntl.h asm/mman.h asm/ioctls.h asm/socket.h asm/sockios.h asm/signal.h asm/termbits.h asm/ptrace.h
linux/fcntl.h linux/stat.h linux/bpf.h linux/time.h linux/sched.h linux/close_range.h linux/eventfd.h
linux/eventpoll.h linux/falloc.h linux/fanotify.h linux/fs.h linux/mount.h linux/futex.h linux/mempolicy.h
linux/random.h linux/in.h linux/in6.h linux/netlink.h linux/inotify.h linux/ioprio.h linux/ipc.h linux/sem.h linux/msg.h
linux/shm.h linux/kcmp.h linux/kexec.h linux/keyctl.h linux/landlock.h linux/mman.h linux/membarrier.h linux/memfd.h
linux/module.h linux/perf_event.h linux/personality.h linux/pidfd.h linux/prctl.h linux/capability.h linux/resource.h
linux/ptrace.h linux/quota.h linux/dqblk_xfs.h linux/seccomp.h linux/securebits.h linux/signalfd.h linux/net.h
linux/tcp.h linux/udp.h linux/if_packet.h linux/timerfd.h linux/userfaultfd.h linux/io_uring.h linux/wait.h
linux/xattr.h linux/reboot.h linux/sockios.h linux/fiemap.h linux/loop.h linux/kd.h linux/vt.h linux/if.h linux/if_tun.h
linux/rtc.h linux/nsfs.h linux/watchdog.h linux/i2c-dev.h linux/i2c.h linux/spi/spidev.h linux/gpio.h mtd/mtd-abi.h
mtd/ubi-user.h linux/fb.h linux/input.h linux/mmc/ioctl.h linux/tee.h linux/blkpg.h linux/blkzoned.h linux/hdreg.h
linux/cdrom.h linux/auto_fs.h linux/utsname.h linux/swap.h linux/blkdev.h asm/prctl.h linux/timer.h
linux/elf.h""".split()


class Trouble(Exception):
    """What the user is told, without a traceback."""


def lines_of(name):
    """The lines of a file beside this one that are no comments; those that begin with blanks continue the one before."""
    with open(os.path.join(HERE, name), encoding="ascii") as file:
        rows = [line.rstrip() for line in file if line.strip() and not line.startswith("#")]
    return rows


# ---- headers -> snapshots -----------------------------------------------------------------------------------------


def extract_prototypes(headers, names):
    """`NAME: PROTOTYPE` of include/linux/syscalls.h for the calls in `names`."""
    path = glob.glob(headers + "/usr/src/*/include/linux/syscalls.h")[0]
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", " ", file.read(), flags=re.S)
    text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.M)
    found = {}
    for name, parameters in re.findall(r"asmlinkage\s+\w+\s+sys_(\w+)\(([^;]*?)\);", text, re.S):
        parameters = re.sub(r"\s+", " ", parameters).strip().replace("* ", "*")
        found.setdefault(name, parameters)
    return [f"{name}: {found[name]}" for name in sorted(names) if name in found]


def extract_constants(include):
    """`NAME VALUE`, or `NAME ABI=VALUE…` where they differ, of all names in sets.txt that headers define."""
    wanted = sorted({name for _, _, _, entries in sets() for name, value, _ in entries if value is None})
    values = {abi: evaluated(include, TRIPLETS[abi], abi, wanted) for abi in ABIS}
    rows, unknown = [], [name for name in wanted if not any(name in of for of in values.values())]
    if unknown:
        raise Trouble(f"sets.txt: no header defines {' '.join(unknown)}")
    for name in wanted:
        of = {abi: values[abi][name] for abi in ABIS if name in values[abi]}
        if len(of) == len(ABIS) and len(set(of.values())) == 1:
            rows.append(f"{name} {of['x86_64']:#x}" if of["x86_64"] >= 0 else f"{name} {of['x86_64']}")
        else:
            rows.append(name + "".join(f" {abi}={value:#x}" for abi, value in of.items()))
    return rows


def evaluated(include, triplet, abi, names):
    """Values of those `names` that the headers for `triplet` define, by a C compiler for this machine."""
    flags = ["-m32"] if abi in ("i386", "arm") else []
    command = ["gcc", "-nostdinc", "-isystem", f"{include}/{triplet}", "-isystem", include, "-w", "-S", "-x", "c",
               "-o", "-", *flags, "-"]
    here = [header for header in INCLUDES if any(os.path.exists(f"{include}/{part}{header}") for part in ("", triplet + "/"))]
    # libc's part, of which no constant depends: empty headers, and the types that they would have.
    stubs = tempfile.mkdtemp()
    for stub in ["sys/socket.h", "sys/types.h", "sys/time.h", "sys/ioctl.h", "stdlib.h", "stddef.h", "stdint.h", "time.h", "string.h"]:
        os.makedirs(os.path.dirname(f"{stubs}/{stub}"), exist_ok=True)
        open(f"{stubs}/{stub}", "w", encoding="ascii").close()
    command[1:1] = ["-isystem", stubs]
    text = "typedef unsigned long size_t; struct sockaddr { short family; char data[14]; };\n" + "".join(f"#include <{header}>\n" for header in here)
    missing = set()
    for _ in range(60):
        probes = "".join(f"const long long probe_{name} = (long long)({name});\n" for name in names if name not in missing)
        done = subprocess.run(command, input=text + probes, text=True, capture_output=True, check=False)
        if done.returncode == 0:
            break
        undeclared = set(re.findall(r"['‘](\w+)['’] undeclared", done.stderr))
        if not undeclared - missing:
            raise Trouble(f"gcc on the headers of {triplet}: {done.stderr[:2000]}")
        missing |= undeclared
    else:
        raise Trouble(f"gcc on the headers of {triplet} finds no end")
    values = {}
    for name, body in re.findall(r"^probe_(\w+):\n((?:\t\.\w+.*\n)+)", done.stdout, re.M):
        words = re.findall(r"\.(quad|long|zero)\t(-?\d+)", body)
        if words[0][0] == "zero":
            value = 0
        elif words[0][0] == "quad":
            value = int(words[0][1])
        else:
            value = sum((int(word) & 0xFFFFFFFF) << (32 * at) for at, (_, word) in enumerate(words))
            value -= (value >> 63) << 64
        values[name] = value
    return values


# ---- snapshots and what is written by hand ------------------------------------------------------------------------


def sets():
    """(name, style as in src/syscalls/sets.rs, bits that are a number, [(constant, value or None, whether of these bits)]) of each set."""
    rows = []
    for line in lines_of("sets.txt"):
        if line.startswith(" "):
            rows[-1] += line
        else:
            rows.append(line)
    found = []
    for row in rows:
        head, body = row.split(":", 1)
        name, style, *more = head.split()
        low, prefix, last = 0, "", False
        for word in more:
            if word.startswith("low="):
                low = int(word[4:], 0)
            elif word == "last":
                last = True
            else:
                prefix = word
        entries = []
        for word in body.split():
            of_low = word.startswith("<")
            word, _, value = word.lstrip("<").partition("=")
            word = word[1:] if word.startswith(".") else prefix + word
            entries.append((word, int(value, 0) if value else None, of_low))
        assert style in ("enum", "flags"), row
        found.append((name, int(style == "flags") | (4 if last else 0), low, entries))
    return found


def constants():
    """{name: {ABI: value}}."""
    found = {}
    for line in lines_of("constants.txt"):
        name, *values = line.split()
        if "=" in values[0]:
            found[name] = {abi: int(value, 0) for abi, value in (value.split("=") for value in values)}
        else:
            found[name] = {abi: int(values[0], 0) for abi in ABIS}
    for _, _, _, entries in sets():
        for name, value, _ in entries:
            if value is not None:
                found.setdefault(name, {abi: value for abi in ABIS})
    return found


def prototypes(calls):
    """{name or ABI/name: [(type, name)]}; calls without a prototype are missing."""
    texts = dict(line.split(": ", 1) for line in lines_of("arguments.txt"))
    texts.update(line.split(": ", 1) for line in lines_of("prototypes.txt"))
    found = {}
    for name, text in texts.items():
        while text.startswith("="):
            text = texts[text[1:]]
        if name.split("/")[-1] not in calls:
            continue
        parameters = []
        for parameter in text.split(",") if text != "void" else []:
            match = re.fullmatch(r"\s*(.*?[\s*])(\w+)\s*", parameter)
            assert match, f"{name}: {parameter} has no name"
            parameters.append((re.sub(r"\s+", " ", match.group(1).strip()), match.group(2).lstrip("_")))
        found[name] = parameters
    return found


def kind_of(kind_type, name):
    """What type and name alone tell."""
    if "*" in kind_type or kind_type in ("cap_user_header_t", "cap_user_data_t", "const cap_user_data_t"):
        return "str" if re.fullmatch(r"const char (__user )?\*", kind_type) else "ptr"
    if name in DIRECTORIES:
        return "dirfd"
    if name in DESCRIPTORS:
        return "fd"
    if name in ("start", "addr"):
        return "ptr"
    if re.match(r"(at_)?flags?\d?$|.*_flags?$", name):
        return "hex" if "long" in kind_type else "hex32"
    by_type = {
        "int": "int", "unsigned int": "uint", "unsigned": "uint", "u32": "uint", "__u32": "uint", "uint32_t": "uint",
        "__s32": "int", "long": "long", "unsigned long": "ulong", "size_t": "ulong", "off_t": "long", "loff_t": "off",
        "u64": "unsigned.p", "umode_t": "mode", "pid_t": "int", "uid_t": "uid", "gid_t": "uid", "qid_t": "uid",
        "clockid_t": "clock", "timer_t": "int", "key_t": "key", "key_serial_t": "keyserial", "rwf_t": "rwf",
        "mqd_t": "fd", "aio_context_t": "hex", "__sighandler_t": "ptr", "old_sigset_t": "hex",
        "enum landlock_rule_type": "uint",
    }
    assert kind_type in by_type, f"type {kind_type} of {name}"
    return by_type[kind_type]


class Kinds:
    """Kinds as numbers."""

    def __init__(self):
        self.sets = [name for name, *_ in sets()]
        assert len(set(self.sets)) == len(self.sets) and FIRST_SET + len(self.sets) < 256
        assert len(BASE) <= FIRST_SET

    def number(self, text):
        """(kind, width) of `KIND[.WIDTH]`. A base kind wins over a set of its name."""
        name, _, width = SHORT.get(text, text).partition(".")
        if name in BASE:
            return list(BASE).index(name), WIDTHS[width]
        assert name in self.sets, f"no kind {name}"
        return FIRST_SET + self.sets.index(name), WIDTHS[width]


def signatures(calls):
    """({name or ABI/name: [(kind, width, name)]}, [the rules of kinds.txt as (calls, selector, from, mask, entries)])."""
    kinds, overrides, rules = Kinds(), {}, []
    values = constants()
    for line in lines_of("kinds.txt"):
        if line.startswith("by "):
            _, of, selector, first, *mask = line.split()
            rules.append((of.split(","), int(selector), int(first), int(mask[0], 0) if mask else 0xFFFFFFFF, []))
        elif line.startswith("  "):
            names, _, given = line.strip().partition(": ")
            keep = given.endswith("...")
            given = [] if given == "-" else given.replace("...", "").split()
            numbers = []
            for word in given:
                word, _, register = word.partition("@")
                numbers.append((*kinds.number(word), int(register) + 1 if register else 0))
            wanted = []
            for name in names.split():
                of = values[name] if not name.startswith("0x") else {"": int(name, 0)}
                assert len(set(of.values())) == 1 or rules[-1][0] == ["ioctl"], f"{name} is not the same everywhere"
                wanted += sorted({value & 0xFFFFFFFF for value in of.values()})
            rules[-1][4].append((wanted, keep, numbers))
        else:
            name, _, words = line.partition(": ")
            overrides[name] = dict(word.split("=") for word in words.split())
    found, used = {}, set()
    for name, parameters in prototypes(calls).items():
        own = overrides.get(name.split("/")[-1], {})
        # The variants of a call with 32-bit or 64-bit times, or under another name, are told once.
        if not own:
            for line in lines_of("prototypes.txt"):
                if line.startswith(f"{name}: ="):
                    own = overrides.get(line.split("=", 1)[1], {})
        row = []
        for kind_type, parameter in parameters:
            given = own.get(parameter) or kind_of(kind_type, parameter)
            used.add((name.split("/")[-1], parameter))
            row.append((*kinds.number(given), parameter))
            if given == "pos":
                break_at = parameters.index((kind_type, parameter)) + 1
                assert parameters[break_at][1] == "pos_h"
        if any(width == 3 for _, width, _ in row):
            row = [entry for entry in row if entry[2] != "pos_h"]
        found[name] = row
    known = {name.split("/")[-1] for name in found}
    for name, own in overrides.items():
        for parameter in own:
            alternatives = ("attr_flags", "ms_flags", "flags", "payload", "_payload")
            assert (name, parameter) in used or (name, parameter.lstrip("_")) in used or parameter in alternatives, \
                f"kinds.txt: {name} has no argument {parameter}"
        assert name in known, f"kinds.txt: no call {name}"
    return found, rules


# ---- Rust ---------------------------------------------------------------------------------------------------------


def leb(value):
    out = []
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return out


def word_bytes(word):
    """ASCII, the last byte marked by its top bit."""
    assert word and word.isascii()
    return [*word[:-1].encode(), ord(word[-1]) | 0x80]


# First bytes of an entry; see src/syscalls/sets.rs.
VALUE, LOW, PREFIX, MACHINES, NEGATIVE = 0x40, 0x41, 0x42, 0x43, 0x44


def encode_set(style, low, entries):
    """The bytes of a set: style, the mask if there is one, entries."""
    out = [style | (2 if low else 0)] + (leb(low) if low else [])
    of_flags = style & 1
    values = constants()
    flat = []  # name, value, of low, machines
    for name, value, of_low in entries:
        of = {abi: value for abi in ABIS} if value is not None else values[name]
        for each in sorted(set(of.values())):
            machines = sum(1 << at for at, abi in enumerate(ABIS) if of.get(abi) == each)
            # A constant that other machines lack needs no mark where nothing else has its value.
            if set(of.values()) == {each} and not any(
                    each in values.get(other, {}).values() for other, *_ in entries if other != name):
                machines = 15
            flat.append((name, each, of_low, machines))
    if not of_flags:
        # The first of two names for a value is the one that counts, also behind the sorting.
        flat.sort(key=lambda entry: entry[1])
    # Where to change the prefix: the cheapest way to cut the list.
    best = [(0, 0, "")] + [None] * len(flat)
    for end in range(1, len(flat) + 1):
        for begin in range(max(0, end - 80), end):
            names = [entry[0] for entry in flat[begin:end]]
            prefix = os.path.commonprefix(names)
            while prefix and any(name == prefix for name in names):
                prefix = prefix[:-1]
            cost = best[begin][0] + 1 + max(len(prefix), 1) + sum(len(name) - len(prefix) for name in names)
            if (prefix or begin == 0) and (best[end] is None or cost < best[end][0]):
                best[end] = (cost, begin, prefix)
    cuts, end = {}, len(flat)
    while end:
        _, begin, prefix = best[end]
        cuts[begin] = prefix
        end = begin
    prefix, previous = "", 0
    for at, (name, value, of_low, machines) in enumerate(flat):
        if at in cuts and cuts[at] != prefix:
            prefix = cuts[at]
            out += [PREFIX, *word_bytes(prefix)]
        if machines != 15:
            out += [MACHINES, machines]
        bits = value & 0xFFFFFFFF if of_flags and value < 0 else value
        if of_low:
            out += [LOW, *leb(bits)]
        elif of_flags and bits and bits & (bits - 1) == 0:
            out.append(bits.bit_length() - 1)
        elif not of_flags and 0 <= bits - previous < VALUE:
            out.append(bits - previous)
            previous = bits
        elif bits < 0:
            out += [NEGATIVE, *leb(-bits)]
        else:
            out += [VALUE, *leb(bits)]
            previous = bits
        out += word_bytes(name[len(prefix):])
    return out


def byte_string(data):
    """A Rust byte string in lines."""
    words = []
    for byte in data:
        char = chr(byte)
        words.append(char if 0x21 <= byte < 0x7F and char not in '"\\' else f"\\x{byte:02x}")
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 112:
            lines.append(line)
            line = ""
        line += word
    return 'b"\\\n' + "".join(f"    {line}\\\n" for line in lines) + f'    {line}"'


def sets_table(header, part, part16, sources):
    data, starts = [], []
    rows = sets()
    for _, style, low, entries in rows:
        starts.append(len(data))
        data += encode_set(style, low, entries)
    out = header("The names of constants by set of values, in the bytes that src/syscalls/sets.rs reads.", sources,
                 "super::packed::Part")
    out += part("All sets, one behind the other.", "SETS", bytes(data))
    starts.append(len(data))
    out += part16("Where each set starts in [`SETS`], and the end.", "STARTS", starts)
    return out


def args_table(header, item, array, part, part16, starts_of, sources, calls):
    """`calls`: names in the order of the alphabet, as src/syscalls/table.rs has them."""
    found, rules = signatures(set(calls))
    words = sorted({entry[2] for row in found.values() for entry in row})
    index = {word: at for at, word in enumerate(words)}
    rule_of = {name: at + 1 for at, (names, *_) in enumerate(rules) for name in names}
    pool, data = {}, []

    def place(name, row):
        rule = rule_of.get(name.split("/")[-1], 0)
        bytes_ = [len(row), rule]
        for kind, width, parameter in row:
            bytes_ += [kind, index[parameter] & 0xFF, index[parameter] >> 8 | width << 6]
        key = tuple(bytes_)
        if key not in pool:
            pool[key] = len(data)
            data.extend(bytes_)
        return pool[key]

    table = [place(name, found[name]) if name in found else "NONE" for name in calls]
    special = [(ABIS.index(name.split("/")[0]), calls.index(name.split("/")[1]), place(name, row))
               for name, row in sorted(found.items()) if "/" in name]
    out = header("The arguments of each call: how many, their names and kinds.", sources, "super::packed::Part")
    out += part("The names of arguments, in the order of the alphabet.", "NAMES", words)
    out += part16("Where each starts in [`NAMES`], and the end.", "STARTS", starts_of(words))
    out += "\n/// Stands in [`CALLS`] for a call without a prototype.\npub(super) const NONE: u16 = u16::MAX;\n"
    out += part16("Offset in [`SIGNATURES`] of each call, in the order of the alphabet.", "CALLS", table)
    out += item("Calls that one ABI has with other arguments: ABI, index in [`CALLS`], offset in [`SIGNATURES`].",
                "OTHERS", f"[(u8, u16, u16); {len(special)}]",
                array([f"({abi}, {call}, {at})" for abi, call, at in special]))
    out += part("Number of arguments, number of the rule from 1 on or 0, then for each argument its kind, the low byte of "
                "its name's number, and the high bits of that with the width above.", "SIGNATURES", bytes(data))
    data = []
    starts = []
    for _, selector, first, mask, entries in rules:
        starts.append(len(data))
        data += [selector, first, *leb(mask), len(entries)]
        for wanted, keep, numbers in entries:
            data += [len(wanted), *(byte for value in wanted for byte in leb(value)), len(numbers) | (0x80 if keep else 0)]
            data += [byte for kind, width, register in numbers for byte in (kind, width | register << 4)]
    out += part("Rules: selecting argument, first argument it is about, mask; number of entries, and for each the values, "
                "the number of kinds (top bit: those behind stay), the kinds with width and register.", "RULES", bytes(data))
    out += item("Where each rule starts in [`RULES`].", "RULE_STARTS", f"[u16; {len(starts)}]", array(starts))
    kinds = Kinds()
    out += "\n/// What arguments can be. From [`FIRST_SET`](kind::FIRST_SET) on: a set of constants.\npub mod kind {\n"
    for at, (name, what) in enumerate(BASE.items()):
        out += f"    /// {what}\n    pub const {name.upper()}: u8 = {at};\n"
    out += f"    /// First set.\n    pub const FIRST_SET: u8 = {FIRST_SET};\n"
    for name in KNOWN_SETS:
        out += f"    /// The set `{name}`.\n    pub const SET_{name.upper()}: u8 = {FIRST_SET + kinds.sets.index(name)};\n"
    out += "}\n\n/// Indices of calls that have more to them than kinds.\npub(super) mod call {\n"
    for name in KNOWN_CALLS:
        out += f"    pub(crate) const {name.strip('_').upper()}: u16 = {calls.index(name)};\n"
    out += "}\n"
    return out
