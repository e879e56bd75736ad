// A client on grpc-js that makes the calls of a plan and prints their results.
//
// usage: client.js PLAN, a JSON file. plan_helpers_test.go defines its fields. The results are
// JSON, in the order of the calls.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const raw = (message) => message;
const compression = { '': 0, deflate: 1, gzip: 2 };

const client = new grpc.Client('unix:' + plan.socket, grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.default_compression_algorithm': compression[plan.compression || ''],
  ...plan.options,
});

// describe returns a short description of a message.
function describe(message) {
  if (message.length <= 1024) return message.toString('base64');
  return `${message.length} bytes, sha256 ${crypto.createHash('sha256').update(message).digest('hex')}`;
}

function metadataOf(call) {
  const metadata = new grpc.Metadata({ waitForReady: Boolean(call.wait) });
  for (const [key, value] of call.metadata || []) {
    metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  }
  return metadata;
}

// visible returns the metadata that the runtime's script has set.
function visible(metadata) {
  const shown = [];
  for (const [key, values] of Object.entries(metadata ? metadata.toJSON() : {})) {
    if (!/^[xt]-/.test(key) && key !== 'grpc-status-details-bin') continue;
    values.forEach((value) => shown.push([key, Buffer.isBuffer(value) ? value.toString('base64') : value]));
  }
  return shown;
}

const starts = {
  unary: (method, request, ...rest) => client.makeUnaryRequest(method, raw, raw, request, ...rest),
  client: (method, _, ...rest) => client.makeClientStreamRequest(method, raw, raw, ...rest),
  server: (method, request, metadata, options) => client.makeServerStreamRequest(method, raw, raw, request, metadata, options),
  bidi: (method, _, metadata, options) => client.makeBidiStreamRequest(method, raw, raw, metadata, options),
};

// make makes one call.
function make(call) {
  return new Promise((resolve) => {
    const kind = call.kind || 'unary';
    const once = (call.requests || []).map((request) => Buffer.from(request, 'base64'));
    const requests = Array.from({ length: call.repeat || 1 }, () => once).flat();
    const options = call.timeout ? { deadline: Date.now() + call.timeout } : {};
    const result = { name: call.name, answers: [], headers: [], trailers: [] };
    const start = Date.now();
    let cancelling;
        // A call has ended when its status and, if the answer is a stream, the stream's end have arrived.
    let missing = kind === 'unary' || kind === 'client' ? 1 : 2;
    const over = () => --missing || setImmediate(() => resolve(result)); // after the callback with the answer
    const answered = (message) => {
      result.answers.push(describe(message));
      if (result.answers.length === call.cancelAfter) started.cancel();
    };
    const started = starts[kind](call.method, requests[0], metadataOf(call), options, (error, message) => {
      if (!error) answered(message);
    });
    if (call.cancel) cancelling = setTimeout(() => started.cancel(), call.cancel);
    started.on('metadata', (metadata) => (result.headers = visible(metadata)));
    started.on('status', (status) => {
      clearTimeout(cancelling);
      Object.assign(result, { code: status.code, message: status.details, trailers: visible(status.metadata), elapsed: Date.now() - start });
      over();
    });
    if (kind === 'server' || kind === 'bidi') {
      started.on('data', answered);
      started.on('end', over);
      started.on('error', () => {}); // the status has the error
    }
    if (kind === 'client' || kind === 'bidi') send(started, requests);
  });
}

function send(call, requests) {
  for (let i = 0; i < requests.length; i++) {
    if (!call.write(requests[i])) {
      call.once('drain', () => send(call, requests.slice(i + 1)));
      return;
    }
  }
  call.end();
}

// all makes calls, up to a number of them at a time, and returns their results in order.
async function all(calls, concurrency) {
  const results = new Array(calls.length);
  let next = 0;
  const work = async () => {
    while (next < calls.length) {
      const i = next++;
      results[i] = await make(calls[i]);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return results;
}

(async () => {
  console.log(); // reports that the client has started
  const results = [];
  for (const group of plan.groups) {
    results.push(...(await all(group.calls, group.concurrency || 1)));
    console.error('done', group.name || '');
  }
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
})();
