#!/usr/bin/env python3
"""Writes to ZooKeeper as services do, and reads, by kazoo: a client that is not ours.

    zookeeper_writes.py SERVERS [USER:PASSWORD]

Reads one request a line, in JSON, and answers each with a line: `ok`, or what went wrong. Its session, and with it its
ephemeral nodes, lives until the end of input (an orderly close) or until the process is killed (it expires).

    {"op": "create", "path": "/a/b", "data": "text or hex", "hex": false, "ephemeral": true, "private": false}
    {"op": "set", "path": ..., "data": ...}   {"op": "delete", "path": ...}   {"op": "open", "path": ...}

    {"op": "look", "path": ...}   answers with the node in JSON, or null

`private` lets nobody but us read the node; `open` takes that back. Parents are made as needed.
"""
import json
import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.retry import KazooRetry
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

logging.getLogger("kazoo").addHandler(logging.NullHandler())  # what goes wrong is said once, in the answer
servers, credentials = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
patient = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=15)
client = KazooClient(hosts=servers, timeout=2, connection_retry=patient, command_retry=patient,
                     auth_data=[("digest", credentials)] if credentials else None)
client.start(timeout=15)


def private():
    user, password = credentials.split(":", 1)
    return [make_digest_acl(user, password, all=True)]


def act(request):
    op, path = request["op"], request["path"]
    data = request.get("data", "")
    data = bytes.fromhex(data) if request.get("hex") else data.encode()
    if op == "create":
        client.retry(client.ensure_path, path.rsplit("/", 1)[0] or "/")
        acl = private() if request.get("private") else None
        client.retry(client.create, path, data, acl=acl, ephemeral=request.get("ephemeral", False))
    elif op == "set":
        client.retry(client.set, path, data)
    elif op == "delete":
        client.retry(client.delete, path, recursive=True)
    elif op == "open":
        client.retry(client.set_acls, path, OPEN_ACL_UNSAFE)
    else:
        raise ValueError(op)


def look(path):
    try:
        data, stat = client.retry(client.get, path)
        acls, _ = client.retry(client.get_acls, path)
    except NoNodeError:
        return None
    rights = {f"{acl.id.scheme}:{acl.id.id.split(':')[0]}": acl.perms for acl in acls}
    return {"data": data.hex(), "owner": stat.ephemeralOwner, "rights": rights}


for line in sys.stdin:
    try:
        request = json.loads(line)
        if request["op"] == "look":
            print(json.dumps(look(request["path"])), flush=True)
            continue
        act(request)
        print("ok", flush=True)
    except Exception as error:  # the test decides what it means
        print(f"{type(error).__name__}: {error}", flush=True)
client.stop()
