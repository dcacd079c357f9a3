#!/usr/bin/env python3
"""gRPC's own library (grpcio) as client and as instance, through a running router.

    grpc_calls.py REGISTRY CLEARTEXT TLS CERTIFICATE

The registry's API and two of the router's listeners, all HOST:PORT, and a PEM file that the one with TLS is trusted by.
Routes expected: `/wanted.Echo` to `echo`, `/wanted.Gone` to `gone` (registered here, its server is closed), and
`/wanted.Empty` to `empty` (registered by nobody). Prints each check before it begins; ends with the first that fails.
"""
import faulthandler
import json
import queue
import sys
import threading
import time
import urllib.request
from concurrent import futures

import grpc

PATIENCE = 10  # seconds for one answer
LONGEST = 120  # seconds for all; then it says where it hangs, and fails
LARGE = 3 * 1024 * 1024  # bytes; below the library's own limit of 4 MiB


# --- the service: messages are bytes, so that nothing has to be generated

def unary(request, context):
    context.send_initial_metadata([("seen-service-id", dict(context.invocation_metadata()).get("service_id", "none"))])
    context.set_trailing_metadata([("check", "trailer"), ("check-bin", b"\x00\xff")])
    return request


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(map(len, requests))


def chat(requests, context):
    for request in requests:
        yield request.upper()


def slow(request, context):
    cancelled = threading.Event()
    context.add_callback(cancelled.set)
    SLOW.put(context.time_remaining())
    cancelled.wait(PATIENCE)
    SLOW.put("cancelled" if cancelled.is_set() else "never cancelled")
    return b""


def refuse(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % caf\u00e9")


def half(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "that was all")


SLOW = queue.Queue()
HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Half": grpc.unary_stream_rpc_method_handler(half),
}


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("wanted.Echo", HANDLERS)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def register(registry, name, port):
    body = {"name": name, "ip": "127.0.0.1", "port": port, "protocol": "grpc", "ttl": "none"}
    request = urllib.request.Request(f"http://{registry}/registry/register", json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request, timeout=PATIENCE).read()


# --- the checks

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def fails(code, call, details=""):
    """The error with which this call fails; it has to be of this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()}: {error.details()}"
        assert details in error.details(), error.details()
        return error
    raise AssertionError(f"{code} was expected, and it succeeded")


@check
def a_unary_call_keeps_metadata_and_trailers(channel):
    response, call = channel.unary_unary("/wanted.Echo/Unary").with_call(b"hello", timeout=PATIENCE)
    assert response == b"hello", response
    trailers = dict(call.trailing_metadata())
    assert trailers["check"] == "trailer" and trailers["check-bin"] == b"\x00\xff", trailers


@check
def the_service_header_routes_and_ends_at_the_router(channel):
    call = channel.unary_unary("/wanted.Echo/Unary").with_call
    response, call = call(b"named", timeout=PATIENCE, metadata=[("service_id", "echo")])
    assert response == b"named", response
    assert dict(call.initial_metadata())["seen-service-id"] == "none", call.initial_metadata()


@check
def empty_messages_are_messages(channel):
    assert channel.unary_unary("/wanted.Echo/Unary")(b"", timeout=PATIENCE) == b""


@check
def large_messages_pass_in_both_directions(channel):
    large = bytes(range(256)) * (LARGE // 256)
    assert channel.unary_unary("/wanted.Echo/Unary")(large, timeout=PATIENCE) == large


@check
def a_server_streams(channel):
    numbers = list(channel.unary_stream("/wanted.Echo/Count")(b"1000", timeout=PATIENCE))
    assert numbers == [b"%d" % number for number in range(1000)], len(numbers)


@check
def a_client_streams(channel):
    requests = (b"x" * 1000 for _ in range(1000))
    assert channel.stream_unary("/wanted.Echo/Total")(requests, timeout=PATIENCE) == b"1000000"


@check
def both_stream_word_by_word(channel):
    words = queue.Queue()
    answers = channel.stream_stream("/wanted.Echo/Chat")(iter(words.get, None), timeout=PATIENCE)
    for number in range(20):
        words.put(b"word %d" % number)
        # The next word is said after the answer to this one: nothing may be held back on the way.
        assert next(answers) == b"WORD %d" % number
    words.put(None)
    assert next(answers, None) is None and answers.code() == grpc.StatusCode.OK


@check
def a_hundred_calls_at_once(channel):
    call = channel.unary_unary("/wanted.Echo/Unary")
    calls = [(b"%d" % number, call.future(b"%d" % number, timeout=PATIENCE)) for number in range(100)]
    assert all(future.result() == message for message, future in calls)


@check
def a_deadline_reaches_the_instance_and_ends_there(channel):
    start = time.monotonic()
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: channel.unary_unary("/wanted.Echo/Slow")(b"", timeout=0.5))
    assert time.monotonic() - start < PATIENCE / 2
    remaining = SLOW.get(timeout=PATIENCE)
    assert remaining is not None and remaining < 1, remaining
    assert SLOW.get(timeout=PATIENCE) == "cancelled"


@check
def a_cancelled_call_is_cancelled_at_the_instance(channel):
    future = channel.unary_unary("/wanted.Echo/Slow").future(b"")
    SLOW.get(timeout=PATIENCE)  # it arrived
    future.cancel()
    assert SLOW.get(timeout=PATIENCE) == "cancelled"


@check
def an_error_without_message_keeps_code_and_text(channel):
    fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: channel.unary_unary("/wanted.Echo/Refuse")(b"", timeout=PATIENCE),
          "not today: 100 % caf\u00e9")


@check
def an_error_after_messages_keeps_both(channel):
    seen = []
    fails(grpc.StatusCode.DATA_LOSS,
          lambda: seen.extend(channel.unary_stream("/wanted.Echo/Half")(b"", timeout=PATIENCE)), "that was all")
    answers = channel.unary_stream("/wanted.Echo/Half")(b"", timeout=PATIENCE)
    assert [next(answers), next(answers)] == [b"one", b"two"]


@check
def an_unknown_method_is_the_instances_word(channel):
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/wanted.Echo/None")(b"", timeout=PATIENCE))


@check
def what_no_route_leads_to_is_unimplemented(channel):
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/wanted.Nobody/Unary")(b"", timeout=PATIENCE),
          "PTS")


@check
def a_service_without_instances_is_unavailable(channel):
    error = fails(grpc.StatusCode.UNAVAILABLE,
                  lambda: channel.unary_unary("/wanted.Empty/Unary")(b"", timeout=PATIENCE), "PTS")
    metadata = dict(error.initial_metadata()) | dict(error.trailing_metadata())
    assert metadata["x-pointsman-reason"] == "no_instance", metadata


@check
def an_instance_that_is_gone_is_unavailable(channel):
    fails(grpc.StatusCode.UNAVAILABLE, lambda: channel.unary_unary("/wanted.Gone/Unary")(b"", timeout=PATIENCE), "PTS")


def main(registry, cleartext, tls, certificate):
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    server, port = serve()
    gone, gone_port = serve()
    gone.stop(None).wait()
    register(registry, "echo", port)
    register(registry, "gone", gone_port)
    options = [("grpc.enable_retries", 0)]
    with open(certificate, "rb") as file:
        trust = grpc.ssl_channel_credentials(file.read())
    for name, channel in [("cleartext", grpc.insecure_channel(cleartext, options)),
                          ("tls", grpc.secure_channel(tls, trust, options))]:
        with channel:
            for one in CHECKS:
                print(f"{name}: {one.__name__.replace('_', ' ')}", flush=True)
                one(channel)
    server.stop(None).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
