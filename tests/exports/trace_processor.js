// SPDX-License-Identifier: Apache-2.0 OR MIT
// Perfetto's trace processor, as its UI has it (WebAssembly, made for a browser's worker), behind standard input and
// output: what comes in goes to it, what it answers goes out. Both are streams of the messages of its own
// trace_processor.proto (TraceProcessorRpcStream).
//
//   node trace_processor.js DIRECTORY OF engine_bundle.js
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const dir = process.argv[2];
const host = process;
// It looks around where it is, and wants to be in a worker.
delete globalThis.process;
globalThis.self = globalThis;
globalThis.WorkerGlobalScope = function WorkerGlobalScope() {};
globalThis.location = { href: 'file:///engine_bundle.js' };
console.log = console.warn = (...words) => host.stderr.write(words.join(' ') + '\n');
delete WebAssembly.instantiateStreaming;
globalThis.fetch = async (name) => {
    const bytes = fs.readFileSync(path.join(dir, path.basename(String(name))));
    return { ok: true, arrayBuffer: async () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
};

const port = { postMessage: (bytes) => fs.writeSync(1, bytes) };
const source = fs.readFileSync(path.join(dir, 'engine_bundle.js'), 'utf8');
const ready = new Promise((resolve) => {
    // Its loading ends with this promise, which it keeps to itself.
    const instantiate = WebAssembly.instantiate;
    WebAssembly.instantiate = async (...words) => {
        const made = await instantiate(...words);
        setTimeout(resolve, 200);
        return made;
    };
});
vm.runInThisContext(source, { filename: 'engine_bundle.js' });
globalThis.onmessage({ data: port });
ready.then(() => {
    host.stdin.on('data', (bytes) => port.onmessage({ data: new Uint8Array(bytes) }));
    host.stdin.on('end', () => host.exit(0));
});
