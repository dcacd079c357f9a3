#!/usr/bin/env python3
"""A gRPC server by gRPC's own library (grpcio) with the health service, which says what it is told on standard input.

Prints its port. Each line it reads is what it answers from then on to a check of the service `pets`: SERVING,
NOT_SERVING, NOT_FOUND or UNIMPLEMENTED. Ends with its input.
"""
import sys
import threading
from concurrent import futures

import grpc

# HealthCheckRequest { service: "pets" }, and HealthCheckResponse { status }: written out, so that nothing is generated.
PETS = b"\x0a\x04pets"
STATUS = {"SERVING": b"\x08\x01", "NOT_SERVING": b"\x08\x02"}
SAYS = ["SERVING"]


def check(request, context):
    word = SAYS[-1] if request == PETS else "NOT_FOUND"
    if word not in STATUS:
        context.abort(getattr(grpc.StatusCode, word), "as it was told")
    return STATUS[word]


def listen():
    for line in sys.stdin:
        SAYS.append(line.strip())
    server.stop(None)


handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
threading.Thread(target=listen, daemon=True).start()
server.wait_for_termination()
