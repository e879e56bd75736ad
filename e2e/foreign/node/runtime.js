// A container runtime on grpc-js that answers by a script.
//
// usage: runtime.js SCRIPT, a JSON file. script_helpers_test.go defines its fields. It prints a
// line once it serves, and ends when its standard input is closed.
'use strict';
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const script = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
let begun = 0; // calls
const raw = (message) => message;

const byMethod = new Map();
for (const rule of script.rules) {
  rule.answers = (rule.answers || []).map((answer) => Buffer.from(answer, 'base64'));
  rule.used = 0;
  byMethod.set(rule.method, [...(byMethod.get(rule.method) || []), rule]);
}

function choose(rules, request) {
  const fits = (rule) => (!rule.limit || rule.used < rule.limit) && request.includes(rule.contains || '');
  const rule = rules.find(fits);
  if (rule) rule.used++;
  return rule;
}

// copy returns the metadata whose keys have a prefix.
function copy(metadata, prefix) {
  const copied = new grpc.Metadata();
  for (const [key, values] of Object.entries(metadata.toJSON())) {
    if (key.startsWith(prefix)) values.forEach((value) => copied.add(key, value));
  }
  return copied;
}

function begin(call) {
  begun++;
  call.sendMetadata(copy(call.metadata, 'x-'));
}

// trackStreams keeps the HTTP/2 streams of the server. The events of calls do not show whether a
// call is open: grpc-js loses a cancellation that arrives before the handler has the call, and
// Node emits no close event for a reset stream whose data is not read.
const streams = new Set();
function trackStreams(server) {
  for (const http2Server of server.http2Servers.keys()) {
    http2Server.on('stream', (stream) => {
      streams.add(stream);
      stream.once('close', () => streams.delete(stream));
    });
  }
}

// countStreams returns the number of open calls, which have no status yet, and of half-closed
// streams, whose call has its status but whose client has neither ended nor reset the stream.
function countStreams() {
  const unclosed = [...streams].filter((stream) => !stream.closed && !stream.destroyed);
  const halfClosed = unclosed.filter((stream) => stream.state.localClose).length;
  return { open: unclosed.length - halfClosed, halfClosed };
}

function failure(rule, trailers) {
  if (rule.details) trailers.add('grpc-status-details-bin', Buffer.from(rule.details, 'base64'));
  return { code: rule.code, details: rule.message || '', metadata: trailers };
}

const after = (milliseconds, run) => (milliseconds ? setTimeout(run, milliseconds) : run());

// unary answers a call of a unary method.
function unary(rules) {
  return (call, callback) => {
    begin(call);
    const trailers = copy(call.metadata, 't-');
    const rule = rules[0].mode === 'echo' ? { answers: [call.request] } : choose(rules, call.request);
    if (!rule) return callback({ code: grpc.status.NOT_FOUND, details: 'no rule', metadata: trailers });
    if (rule.mode === 'freeze') process.kill(process.pid, 'SIGSTOP');
    if (rule.mode === 'hang' || rule.mode === 'freeze') return; // until it is cancelled
    after(rule.delay, () => {
      if (rule.code) callback(failure(rule, trailers));
      else callback(null, rule.answers[0] || Buffer.alloc(0), trailers);
    });
  };
}

// stream answers a call of a method with streams, in one direction or both.
function stream(rules) {
  return (call) => {
    begin(call);
    const trailers = copy(call.metadata, 't-');
    const finish = () => call.end(trailers);
    if (rules[0].mode === 'echo') {
      call.on('data', (message) => {
        if (!call.write(message)) {
          call.pause();
          call.once('drain', () => call.resume());
        }
      });
      call.on('end', finish);
    } else if (rules[0].mode === 'count') {
      let [messages, bytes] = [0, 0];
      call.on('data', (message) => {
        messages++;
        bytes += message.length;
      });
      call.on('end', () => {
        call.write(Buffer.from(`${messages} messages, ${bytes} bytes`));
        finish();
      });
    } else {
      call.once('data', (request) => follow(rules, call, request, trailers, finish));
    }
  };
}

// follow answers a call by the rule for its first message.
function follow(rules, call, request, trailers, finish) {
  const rule = choose(rules, request);
  if (!rule) {
    call.emit('error', { code: grpc.status.NOT_FOUND, details: 'no rule', metadata: trailers });
    return;
  }
  after(rule.delay, () => {
    rule.answers.forEach((answer) => call.write(answer));
    if (rule.mode === 'hang') return; // until it is cancelled
    if (!rule.code) return finish();
    call.emit('error', failure(rule, trailers));
  });
}

const server = new grpc.Server({
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  ...script.options,
});
for (const [method, rules] of byMethod) {
  if (rules[0].mode === 'report') {
    const report = (call, callback) => {
      const { open, halfClosed } = countStreams();
      const counts = { begun, open: open - 1, halfClosed }; // without this call
      callback(null, Buffer.from(JSON.stringify(counts)));
    };
    server.register(method, report, raw, raw, 'unary');
  } else if (rules[0].unary) {
    server.register(method, unary(rules), raw, raw, 'unary');
  } else {
    server.register(method, stream(rules), raw, raw, 'bidi');
  }
}
server.bindAsync('unix:' + script.socket, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  trackStreams(server);
  console.log('ready');
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
