# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Holds `report --format perfetto` against `report --format json`, with other people's programs on the reading side.

    slices.py decode TRACE JSON          every packet by Perfetto's own protobuf descriptions
    slices.py query TRACE JSON WEB_DIST  Perfetto's trace processor (trace_processor.js), by SQL

JSON is the file of JSON lines of the same report. Needs the Python packages perfetto and protobuf; `query` also node
and the directory of a Perfetto UI. Prints what it compared; says what differs and exits with 1 otherwise.
"""
import json
import os
import subprocess
import sys


def fail(*words):
    print(*words)
    sys.exit(1)


def same(what, ours, theirs):
    """Two lists of comparable things, shown where they part."""
    if len(ours) != len(theirs):
        only = [x for x in theirs if x not in ours][:3], [x for x in ours if x not in theirs][:3]
        fail(f'{what}: {len(theirs)} in JSON, {len(ours)} in the trace; only in one: {only}')
    for mine, other in zip(ours, theirs):
        if mine != other:
            fail(f'{what}:\n  JSON  {other}\n  trace {mine}')
    print(f'{len(ours)} {what}')


FLAGS = ['refused', 'start_unknown', 'unfinished', 'uncertain', 'runtime']


def expected(path):
    """What the JSON lines say, in the form that both readers of the trace are brought to."""
    lines = [json.loads(line) for line in open(path, encoding='utf-8')]
    native = {'x86_64': 'x86_64', 'aarch64': 'aarch64', 'armv7l': 'arm', 'i686': 'i386'}[lines[0]['host']['machine']]
    calls, instants, errors, lost, damaged = [], [], [], [], []
    ends = {}
    for line in lines:
        if line['type'] == 'exit':
            ends.setdefault(line['pid'], []).append(int(line['ts']))
    for line in lines:
        kind, ts = line['type'], int(line.get('ts', 0))
        if kind == 'call':
            name = line.get('name') or 'syscall_' + hex(line['nr'] & 0xffffffff)
            flags = [flag for flag in FLAGS if line.get(flag)]
            # By name where the lines have names.
            args = line.get('arguments')
            if args is None:
                args = {f'arg{n}': value for n, value in enumerate(line.get('args', []))}
            ret = line.get('ret')
            calls.append({
                'ts': ts, 'pid': line['pid'], 'tgid': line.get('tgid', 0), 'comm': line['comm'], 'name': name,
                'args': args, 'ret': None if ret is None else int(ret), 'errno': line.get('errno'), 'flags': flags,
                'abi': None if line['abi'] == native else line['abi'],
                # Known where enter and exit are, and also over a gap; JSON gives it for sure ones only.
                'dur': line.get('duration_ns'),
            })
            if line.get('errno') or line.get('refused'):
                errors.append((ts + line.get('duration_ns', 0), line['pid'], name))
        elif kind == 'signal':
            instants.append((ts, line['pid'], line['signal_name']))
        elif kind == 'exec':
            instants.append((ts, line['pid'], 'exec ' + line['filename']))
        elif kind == 'exit':
            if 'status' in line:
                why = f'exited with {line["status"]}'
            elif 'signal' in line:
                why = 'killed by ' + line['signal_name']
            elif line.get('killed'):
                why = 'killed by SIGKILL or another signal from outside'
            elif 'superseded_by' in line:
                why = f'superseded by execve in pid {line["superseded_by"]}'
            else:
                why = 'exited'
            instants.append((ts, line['pid'], why))
        elif kind == 'lost':
            lost.append((line['cpu'], int(line['from']), int(line['to']), line['count']))
        elif kind == 'damaged':
            damaged.append((line['cpu'], ts, line['offset'], line['error']))
    return lines, calls, sorted(instants), sorted(errors), sorted(lost, key=str), sorted(damaged), ends


def order(call):
    return (call['ts'], call['pid'], call['name'], str(call['args']), str(call['ret']))


def compare_calls(slices, calls, ends):
    """Slices and calls in one order. A slice's end is the call's; of one that did not return, the task's."""
    slices, calls = sorted(slices, key=order), sorted(calls, key=order)
    for mine, call in zip(slices, calls):
        dur = mine.pop('dur')
        want = call.pop('dur')
        if want is not None:
            if dur is None or abs(dur - want) > 1:
                # Wall-clock times are rounded to nanoseconds on their own.
                fail(f'{call["name"]} of {call["pid"]} at {call["ts"]}: {dur} instead of {want} ns')
        elif call['ret'] is None and dur is not None:
            # It ended no later than its task.
            last = [end for end in ends.get(call['pid'], []) if end >= call['ts']]
            if last and call['ts'] + dur > last[0]:
                fail(f'{call["name"]} of {call["pid"]} at {call["ts"]} outlives its task')
    same('calls', slices, calls)


def decode(trace, path):
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb
    lines, calls, instants, errors, lost, damaged, ends = expected(path)
    message = pb.Trace()
    message.ParseFromString(open(trace, 'rb').read())

    def unknown(msg, where):
        from google.protobuf.unknown_fields import UnknownFieldSet
        if len(UnknownFieldSet(msg)):
            fail(f'unknown fields in {where}')
        for field, value in msg.ListFields():
            if field.message_type is not None:
                for one in value if hasattr(value, 'append') else [value]:
                    unknown(one, f'{where}.{field.name}')

    tracks, stacks, slices = {}, {}, []
    found = {'instants': [], 'errors': [], 'lost': [], 'damaged': []}
    events = []
    for number, packet in enumerate(message.packet):
        unknown(packet, f'packet {number}')
        if packet.trusted_packet_sequence_id != 1:
            fail(f'packet {number} has no sequence')
        if packet.HasField('track_descriptor'):
            tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField('track_event'):
            if packet.track_event.track_uuid not in tracks:
                fail(f'packet {number} is of a track that was not described before')
            thread = tracks[packet.track_event.track_uuid].thread
            events.append((packet.timestamp, packet.track_event, thread.thread_name))
    # As the trace processor does: by time, and those of one time as they stand.
    events.sort(key=lambda event: event[0])
    for ts, event, comm in events:
        track = tracks[event.track_uuid]
        notes = {}
        for note in event.debug_annotations:
            notes[note.name] = getattr(note, note.WhichOneof('value'))
        stack = stacks.setdefault(event.track_uuid, [])
        if event.type == pb.TrackEvent.TYPE_SLICE_BEGIN:
            if stack:
                fail(f'{event.name} at {ts} begins within {stack[-1]}')
            slice_ = {'ts': ts, 'name': event.name, 'notes': notes, 'track': track, 'comm': comm, 'dur': None,
                      'categories': list(event.categories)}
            slices.append(slice_)
            stack.append(slice_)
        elif event.type == pb.TrackEvent.TYPE_SLICE_END:
            if not stack:
                fail(f'a slice ends at {ts} that did not begin')
            slice_ = stack.pop()
            slice_['dur'] = ts - slice_['ts']
            slice_['notes'].update(notes)
        elif event.categories[0] == 'error':
            found['errors'].append((ts, notes['tid'], event.name.split(' ')[0]))
        elif event.name == 'damaged':
            found['damaged'].append((int(track.name.split()[-1]), ts, notes['offset'], notes['error']))
        else:
            pid = track.thread.tid or int(track.name.split()[-1])
            found['instants'].append((ts, pid, event.name))
    ours = []
    for slice_ in slices:
        track, notes = slice_['track'], slice_['notes']
        if slice_['categories'] == ['lost']:
            found['lost'].append((int(track.name.split()[-1]), slice_['ts'], slice_['ts'] + slice_['dur'],
                                  notes.get('count')))
            continue
        if (slice_['categories'] == ['syscall', 'error']) != ('errno' in notes):
            fail(f'categories of {slice_}')
        ret = notes.pop('ret', None)
        if ret is not None and ret >= 1 << 63:
            ret -= 1 << 64
        comm = slice_['comm'] or track.name.rsplit(' ', 1)[0]
        ours.append({
            'ts': slice_['ts'], 'pid': track.thread.tid or int(track.name.split()[-1]), 'tgid': track.thread.pid,
            'comm': comm, 'name': slice_['name'], 'dur': slice_['dur'], 'ret': ret, 'errno': notes.pop('errno', None),
            'flags': [flag for flag in FLAGS if notes.pop(flag, False)], 'abi': notes.pop('abi', None), 'args': notes,
        })
    compare_calls(ours, calls, ends)
    same('instants', sorted(found['instants']), instants)
    # The result's own time, which JSON gives for calls of known duration only.
    same('errors', sorted(e[1:] for e in found['errors']), sorted(e[1:] for e in errors))
    same('gaps', sorted(found['lost'], key=str), lost)
    same('damaged places', sorted(found['damaged']), damaged)
    snapshots = [packet.clock_snapshot for packet in message.packet if packet.HasField('clock_snapshot')]
    if not snapshots or {clock.clock_id for clock in snapshots[0].clocks} != {1, 64}:
        fail('no snapshot of wall clock and trace clock')
    if snapshots[0].clocks[0].timestamp != int(lines[0]['start']):
        fail('the first snapshot is not of the start')


class Processor:
    """A trace processor in its own process, spoken to in its own words."""

    def __init__(self, web_dist, trace):
        from google.protobuf import descriptor_pb2, message_factory
        from google.protobuf.descriptor_pool import DescriptorPool
        import perfetto
        pool = DescriptorPool()
        described = os.path.join(os.path.dirname(perfetto.__file__), 'trace_processor/trace_processor.descriptor')
        files = descriptor_pb2.FileDescriptorSet.FromString(open(described, 'rb').read())
        for one in files.file:
            pool.Add(one)

        def message(name):
            return message_factory.GetMessageClass(pool.FindMessageTypeByName('perfetto.protos.' + name))

        self.rpc, self.stream = message('TraceProcessorRpc'), message('TraceProcessorRpcStream')
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'trace_processor.js')
        self.child = subprocess.Popen(['node', script, web_dist], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE if 'QUIET' in os.environ else None)
        self.seq = 0
        data = open(trace, 'rb').read()
        for at in range(0, len(data), 1 << 20):
            reply = self.call(request='TPM_APPEND_TRACE_DATA', append_trace_data=data[at:at + (1 << 20)])
            if reply.append_result.error:
                fail('the trace processor refuses the trace:', reply.append_result.error)
        self.call(request='TPM_FINALIZE_TRACE_DATA')

    def call(self, **fields):
        stream = self.stream()
        msg = stream.msg.add()
        msg.seq = self.seq
        self.seq += 1
        for name, value in fields.items():
            if name == 'request':
                msg.request = self.rpc.TraceProcessorMethod.Value(value)
            elif name == 'sql':
                msg.query_args.sql_query = value
            else:
                setattr(msg, name, value)
        self.child.stdin.write(stream.SerializeToString())
        self.child.stdin.flush()
        return self.reply()

    def reply(self):
        read = self.child.stdout.read
        tag = read(1)
        if tag != b'\x0a':
            fail('the trace processor has ended')
        length = shift = 0
        while True:
            byte = read(1)[0]
            length |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
        reply = self.rpc.FromString(read(length))
        if reply.fatal_error:
            fail(reply.fatal_error)
        return reply

    def query(self, sql):
        from perfetto.common.query_result_iterator import QueryResultIterator
        reply = self.call(request='TPM_QUERY_STREAMING', sql=sql)
        while not reply.query_result.error and not reply.query_result.batch[-1].is_last_batch:
            reply.MergeFrom(self.reply())
        result = reply.query_result
        if result.error:
            fail(f'{sql}: {result.error}')
        names = list(result.column_names)
        return [{name: getattr(row, name) for name in names} for row in QueryResultIterator(names, result.batch)]


def query(trace, path, web_dist):
    lines, calls, instants, errors, lost, damaged, ends = expected(path)
    tp = Processor(web_dist, trace)
    wrong = tp.query("select name, severity, value from stats where severity in ('error', 'data_loss') and value > 0")
    if wrong:
        fail('the trace processor found faults:', wrong)
    args = {}
    for row in tp.query("select arg_set_id as id, key, value_type as type, int_value as number, string_value as text "
                        "from args where key like 'debug.%'"):
        value = row['text'] if row['type'] == 'string' else row['number']
        args.setdefault(row['id'], {})[row['key'][len('debug.'):]] = value
    slices, marks, gaps, spoiled, fails = [], [], [], [], []
    for row in tp.query(
            "select s.ts, s.dur, s.name, s.category, s.depth, s.arg_set_id as args, t.tid, t.name as comm, p.pid, "
            "track.name as track, track.type as kind from slice s join track on s.track_id = track.id "
            "left join thread_track tt on s.track_id = tt.id left join thread t using (utid) "
            "left join process p using (upid)"):
        # Slices share sets of the same arguments.
        notes = dict(args.get(row['args'], {}))
        category = row['category'].split(',')
        pid = row['tid'] if row['tid'] is not None else row['track'] and int(row['track'].split()[-1]) \
            if category[0] not in ('error',) else None
        if category[0] == 'syscall':
            if row['depth'] != 0:
                fail(f'{row} lies within another call')
            slices.append({
                'ts': row['ts'], 'pid': pid, 'tgid': row['pid'] or 0, 'name': row['name'],
                'dur': None if row['dur'] == -1 else row['dur'], 'ret': notes.pop('ret', None),
                'errno': notes.pop('errno', None), 'flags': [flag for flag in FLAGS if notes.pop(flag, 0)],
                'abi': notes.pop('abi', None), 'args': notes,
            })
        elif category[0] == 'error':
            fails.append((notes['tid'], row['name'].split(' ')[0]))
        elif row['name'] == 'damaged':
            spoiled.append((int(row['track'].split()[-1]), row['ts'], notes['offset'], notes['error']))
        elif category[0] == 'lost':
            gaps.append((int(row['track'].split()[-1]), row['ts'], row['ts'] + row['dur'], notes.get('count')))
        else:
            marks.append((row['ts'], pid, row['name']))
    names = {}
    for line in lines:
        if line['type'] in ('call', 'signal', 'exec', 'exit'):
            names.setdefault((line.get('tgid', 0), line['pid']), []).append(line['comm'])
    for call in calls:
        del call['comm']
    compare_calls(slices, calls, ends)
    same('instants', sorted(marks), instants)
    same('errors', sorted(fails), sorted(e[1:] for e in errors))
    same('gaps', sorted(gaps, key=str), lost)
    same('damaged places', sorted(spoiled), damaged)
    rows = tp.query("select tid, thread.name as name, pid, process.name as process from thread join process using (upid)")
    count = 0
    for (tgid, pid), comms in names.items():
        if tgid == 0:
            continue
        threads = [row for row in rows if (row['pid'], row['tid']) == (tgid, pid)]
        if not any(row['name'] in comms for row in threads):
            fail(f'thread {pid} of {tgid}: {threads} instead of {comms[-1]}')
        if tgid == pid and not any(row['process'] in comms for row in threads):
            fail(f'process {pid}: {threads} instead of {comms[-1]}')
        if len(threads) == 1 and threads[0]['name'] != comms[-1]:
            fail(f'thread {pid} of {tgid}: {threads} instead of {comms[-1]}')
        if len(threads) == 1 and tgid == pid and threads[0]['process'] != comms[-1]:
            fail(f'process {pid}: {threads} instead of {comms[-1]}')
        count += 1
    print(f'{count} tasks with their names')
    clock = tp.query("select clock_value as value from clock_snapshot where clock_name = 'REALTIME' order by 1 limit 1")
    if [row['value'] for row in clock] != [int(lines[0]['start'])]:
        fail(f'wall clock: {clock} instead of {lines[0]["start"]}')


if __name__ == '__main__':
    {'decode': decode, 'query': query}[sys.argv[1]](*sys.argv[2:])
