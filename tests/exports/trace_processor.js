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
const read = (name) => new Uint8Array(fs.readFileSync(path.join(dir, path.basename(String(name))))).buffer;
globalThis.fetch = async (name) => ({ ok: true, arrayBuffer: async () => read(name) });
globalThis.XMLHttpRequest = class {
    open(method, name) {
        this.name = name;
    }
    send() {
        this.status = 200;
        this.response = read(this.name);
    }
};

const port = { postMessage: (bytes) => fs.writeSync(1, bytes) };
const source = fs.readFileSync(path.join(dir, 'engine_bundle.js'), 'utf8');
// It does not say when it is ready; nothing is loaded after this.
let loading = Promise.resolve();
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = (...words) => (loading = instantiate(...words));
// An error's text would show the whole bundle, which is one line.
const give_up = (why) => {
    host.stderr.write('trace processor: ' + String((why && why.message) || why).slice(0, 500) + '\n');
    host.exit(1);
};
host.on('uncaughtException', give_up);
host.on('unhandledRejection', give_up);
try {
    vm.runInThisContext(source, { filename: 'engine_bundle.js' });
} catch (why) {
    give_up(why);
}
globalThis.onmessage({ data: port });
setTimeout(async () => {
    await loading;
    setTimeout(() => {
        host.stdin.on('data', (bytes) => port.onmessage({ data: new Uint8Array(bytes) }));
        host.stdin.on('end', () => host.exit(0));
    }, 100);
}, 100);
