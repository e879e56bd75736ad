"""A client on grpcio that makes the calls of a plan and prints their results.

usage: client.py PLAN, a JSON file. plan_helpers_test.go defines its fields. The results are
JSON, in the order of the calls.
"""

import base64
import hashlib
import itertools
import json
import sys
import threading
import time
from concurrent import futures

import grpc

COMPRESSION = {
    "": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


def describe(message):
    """Returns a short description of a message."""
    if len(message) <= 1024:
        return base64.b64encode(message).decode()
    return "%d bytes, sha256 %s" % (len(message), hashlib.sha256(message).hexdigest())


def metadata_of(call):
    return [
        (key, base64.b64decode(value) if key.endswith("-bin") else value)
        for key, value in call.get("metadata") or []
    ]


def visible(metadata):
    """Returns the metadata that the runtime's script has set."""
    shown = []
    for key, value in metadata or []:
        if key.startswith(("x-", "t-")) or key == "grpc-status-details-bin":
            shown.append([key, base64.b64encode(value).decode() if isinstance(value, bytes) else value])
    return shown


class Client:
    def __init__(self, plan):
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        options += list((plan.get("options") or {}).items())
        self.channel = grpc.insecure_channel(
            "unix:" + plan["socket"],
            options=options,
            compression=COMPRESSION[plan.get("compression", "")],
        )

    def stub(self, call):
        kind = call.get("kind") or "unary"
        make = {
            "unary": self.channel.unary_unary,
            "client": self.channel.stream_unary,
            "server": self.channel.unary_stream,
            "bidi": self.channel.stream_stream,
        }[kind]
        return kind, make(call["method"])

    def make(self, call):
        kind, stub = self.stub(call)
        requests = [base64.b64decode(request) for request in call.get("requests") or []]
        requests = list(itertools.chain.from_iterable([requests] * call.get("repeat", 1)))
        timeout = call.get("timeout", 0) / 1000 or None
        arguments = {"timeout": timeout, "metadata": metadata_of(call)}
        if call.get("wait"):
            arguments["wait_for_ready"] = True
        argument = iter(requests) if kind in ("client", "bidi") else requests[0]
        result = {"name": call["name"], "answers": []}
        start = time.monotonic()
        cancelling = threading.Timer(call.get("cancel", 0) / 1000, lambda: answer.cancel())
        try:
            answer = stub.future(argument, **arguments) if kind in ("unary", "client") else stub(argument, **arguments)
            if call.get("cancel"):
                cancelling.start()
            if kind in ("unary", "client"):
                result["answers"].append(describe(answer.result()))
            else:
                self.receive(call, answer, result)
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        finally:
            cancelling.cancel()
        result["elapsed"] = round((time.monotonic() - start) * 1000)
        result["code"] = answer.code().value[0]
        result["message"] = answer.details() or ""
        result["headers"] = visible(answer.initial_metadata())
        result["trailers"] = visible(answer.trailing_metadata())
        return result

    @staticmethod
    def receive(call, answer, result):
        for message in answer:
            result["answers"].append(describe(message))
            if len(result["answers"]) == call.get("cancelAfter"):
                answer.cancel()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    print(flush=True)  # reports that the client has started
    client = Client(plan)
    results = []
    for group in plan["groups"]:
        with futures.ThreadPoolExecutor(group.get("concurrency") or 1) as pool:
            results += pool.map(client.make, group["calls"])
        print("done", group.get("name", ""), file=sys.stderr, flush=True)
    json.dump(results, sys.stdout)


main()
