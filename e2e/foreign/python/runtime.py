"""A container runtime on grpcio that answers by a script.

usage: runtime.py SCRIPT, a JSON file. script_helpers_test.go defines its fields. It prints a
line once it serves, and ends when its standard input is closed.
"""

import base64
import json
import os
import signal
import sys
import threading
from concurrent import futures

import grpc

COMPRESSION = {
    "": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Rule:
    """One rule of the script, and how often it has been used."""

    def __init__(self, rule):
        self.method = rule["method"]
        self.unary = rule.get("unary", False)
        self.contains = rule.get("contains", "").encode()
        self.limit = rule.get("limit", 0)
        self.mode = rule.get("mode", "")
        self.delay = rule.get("delay", 0) / 1000
        self.code = rule.get("code", 0)
        self.message = rule.get("message", "")
        self.details = base64.b64decode(rule.get("details", ""))
        self.answers = [base64.b64decode(answer) for answer in rule.get("answers") or []]
        self.used = 0

    def fits(self, request):
        return (not self.limit or self.used < self.limit) and self.contains in request


class Runtime(grpc.GenericRpcHandler):
    def __init__(self, rules):
        self.rules = [Rule(rule) for rule in rules]
        self.lock = threading.Lock()
        self.counts = {"begun": 0, "open": 0}

    def service(self, details):
        rules = [rule for rule in self.rules if rule.method == details.method]
        if not rules:
            return None
        if rules[0].unary:
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: next(self.answer(rules, iter([request]), context), b"")
            )
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self.answer(rules, requests, context)
        )

    def choose(self, rules, request):
        with self.lock:
            for rule in rules:
                if rule.fits(request):
                    rule.used += 1
                    return rule
        return None

    def answer(self, rules, requests, context):
        if rules[0].mode == "report":
            yield json.dumps(self.counts).encode()
            return
        with self.lock:
            self.counts["begun"] += 1
            self.counts["open"] += 1
        ended = threading.Event()

        def end():
            ended.set()
            with self.lock:
                self.counts["open"] -= 1

        if not context.add_callback(end):
            end()  # the call ended before the callback was added
        self.send_metadata(context)
        if rules[0].mode == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
            ended.wait()  # SIGSTOP may take effect with a delay
        if rules[0].mode == "echo":
            yield from requests
            return
        if rules[0].mode == "count":
            sizes = [len(request) for request in requests]
            yield b"%d messages, %d bytes" % (len(sizes), sum(sizes))
            return
        request = next(requests, b"")
        rule = self.choose(rules, request)
        if rule is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no rule")
        if rule.delay and ended.wait(rule.delay):
            return
        # A unary error has no answer before it.
        if not (rule.unary and rule.code):
            yield from rule.answers
        if rule.mode == "hang":
            ended.wait()
        if rule.code:
            self.fail(rule, context)

    @staticmethod
    def send_metadata(context):
        """Sends the client's keys with the prefix x- as headers, and those with t- as trailers."""
        sent = [(key, value) for key, value in context.invocation_metadata()]
        context.send_initial_metadata([(key, value) for key, value in sent if key.startswith("x-")])
        context.set_trailing_metadata([(key, value) for key, value in sent if key.startswith("t-")])

    @staticmethod
    def fail(rule, context):
        trailing = [(key, value) for key, value in context.trailing_metadata() or []]
        if rule.details:
            trailing.append(("grpc-status-details-bin", rule.details))
        context.set_trailing_metadata(trailing)
        context.abort(CODES[rule.code], rule.message)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        script = json.load(file)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    options += list((script.get("options") or {}).items())
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=256),
        handlers=[Runtime(script["rules"])],
        options=options,
        compression=COMPRESSION[script.get("compression", "")],
    )
    server.add_insecure_port("unix:" + script["socket"])
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(None).wait()


main()
