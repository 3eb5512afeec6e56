# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Packs the tables that only reports read, for src/syscalls/packed.rs, which has the same model in Rust: an arithmetic coder
of bits, whose probabilities a mixer puts together from what followed the last none to two bytes and the word so far, and
what followed where the last three bytes stood before.

The method is that of the PAQ family (M. Mahoney, "Data Compression Explained", 4.3, and lpaq1), in whole numbers only.
"""
SQUASH = [1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
          3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094]
# How far a probability goes toward a bit, by how often it has: 1 / (times + 1.5), of 65536.
RATES = [131072 // (2 * times + 3) for times in range(7)]
ORDERS = 3
INPUTS = ORDERS + 2  # the orders, the word, and the match
LONGEST = 15  # match that counts
PLACES = 18  # for the probabilities of each input, as a power of two
MULTIPLIER, SPREAD, FOLD = 0x2F0B4C47, 0x9E3779B1, 0x85EBCA6B
ALL = 0xFFFFFFFF


def squash(x):
    if x > 2047:
        return 4095
    if x < -2047:
        return 1
    weight, at = x & 127, (x >> 7) + 16
    return (SQUASH[at] * (128 - weight) + SQUASH[at + 1] * weight + 64) >> 7


def pack(data):
    stretch = [2047] * 4096
    begin = 0
    for x in range(-2047, 2048):
        for at in range(begin, squash(x) + 1):
            stretch[at] = x
        begin = squash(x) + 1
    inputs = range(INPUTS)
    slots = [2048 << 4] * (INPUTS << PLACES)
    weights = [[65536 * 3 // 10] * INPUTS for _ in range(256)]
    out = bytearray()
    low, high, word = 0, ALL, 0
    before, follows, matched = {}, 0, 0
    for at, byte in enumerate(data):
        hashes, history = [], 0
        for order in range(ORDERS):
            hashes.append(history)
            history = (history + (data[at - 1 - order] if at > order else 0) + 1) * MULTIPLIER & ALL
        hashes.append(word)
        if matched == 0:
            follows = before.get(history >> 16, 0)
            while matched < min(LONGEST, follows) and data[follows - 1 - matched] == data[at - 1 - matched]:
                matched += 1
        before[history >> 16] = at
        expected = (data[follows] if follows < at else 0) | 256
        partial = 1
        while partial < 256:
            bit = byte >> 7 - (partial.bit_length() - 1) & 1
            row = weights[partial]
            places = [(((h + partial * SPREAD) * FOLD & ALL) >> 32 - PLACES) + (k << PLACES) for k, h in enumerate(hashes)]
            left = 9 - partial.bit_length()
            by_match = 0
            if matched and expected >> left == partial:
                by_match = (expected >> left - 1 & 1) * 16 + matched
            places.append(by_match + (INPUTS - 1 << PLACES))
            votes = [stretch[slots[place] >> 4] for place in places]
            dot = sum(row[k] * votes[k] >> 8 for k in inputs)
            assert max(abs(row[k] * votes[k]) for k in inputs) < 1 << 31 and abs(dot) < 1 << 31
            chance = squash(dot >> 8)
            middle = low + (high - low >> 12) * chance
            if bit:
                high = middle
            else:
                low = middle + 1
            while (low ^ high) >> 24 == 0:
                out.append(high >> 24)
                low, high = low << 8 & ALL, (high << 8 & ALL) | 255
            error = ((bit << 12) - chance) * 8
            for k in inputs:
                row[k] += votes[k] * error + 0x2000 >> 14
                chance_here, count = slots[places[k]] >> 4, slots[places[k]] & 15
                chance_here += ((4095 if bit else 0) - chance_here) * RATES[count] >> 16
                slots[places[k]] = chance_here << 4 | min(count + 1, len(RATES) - 1)
            partial = partial << 1 | bit
        matched, follows = (min(LONGEST, matched + 1), follows + 1) if byte | 256 == expected else (0, 0)
        word = (word + byte) * MULTIPLIER & ALL if chr(byte).isascii() and chr(byte).isalpha() else 0
    out += (low + 0xFFFFFF & ~0xFFFFFF & ALL if low else 0).to_bytes(4, "big").rstrip(b"\0") or b"\0"
    return bytes(out)

