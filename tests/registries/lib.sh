# Shared helpers for the registry starters. Sourced by install, up, down, node.
# shellcheck shell=bash
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${REGISTRIES_STATE:-${TMPDIR:-/tmp}/pointsman-registries-$(id -u)}
CACHE=${REGISTRIES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pointsman-registries}
umask 077

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
need() { local c; for c in "$@"; do command -v "$c" >/dev/null || die "$c is missing: run ./install first"; done; }

# --- instances -------------------------------------------------------------
# Every instance owns $STATE/ID with: env, node.N.{cmd,pid,log}, data, hooks.

begin() { # ID: claim a fresh instance directory
  ID=$1 DIR=$STATE/$1
  mkdir -p "$STATE/ports"
  mkdir "$DIR" 2>/dev/null || die "$ID is already up (./down $ID first, or choose another --id)"
  : >"$DIR/env"
  trap 'rc=$?; trap - EXIT; if [ $rc -ne 0 ]; then say "start of $ID failed; logs:"; tail -n 15 "$DIR"/node.*.log >&2 2>/dev/null || true; stop_instance "$DIR"; fi; exit $rc' EXIT
}
emit() { printf 'export %s=%q\n' "$1" "$2" >>"$DIR/env"; }
finish() { trap - EXIT; cat "$DIR/env"; }

# --- ports -----------------------------------------------------------------
# Below the ephemeral range, claimed by an atomic mkdir, so parallel starts
# never take the same one. A claim is dropped by down.
in_use() { [ -n "$(ss -Hlntu "sport = :$1" 2>/dev/null)" ]; }
port() { # VAR: a free port number, kept until down
  local try_ got_
  for try_ in $(seq 200); do
    got_=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    in_use "$got_" && continue
    mkdir "$STATE/ports/$got_" 2>/dev/null || continue
    printf '%s\n' "$got_" >>"$DIR/ports"
    printf -v "$1" '%s' "$got_"
    return
  done
  die "no free port"
}

# --- processes -------------------------------------------------------------
born() { awk '{print $22}' "/proc/$1/stat" 2>/dev/null || true; }   # start time, guards against a reused pid
alive() { # pid file
  local pid t; [ -s "$1" ] || return 1
  read -r pid t <"$1"; [ -n "$t" ] && [ "$(born "$pid")" = "$t" ] && [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" != Z ]
}
spawn() { # N CMD...: start CMD as node N of this instance
  local n=$1; shift
  printf '%q ' "$@" >"$DIR/node.$n.cmd"
  start_node "$DIR" "$n"
}
start_node() { # DIR N
  local d=$1 n=$2 cmd
  cmd=$(cat "$d/node.$n.cmd")
  (cd "$d" && exec setsid bash -c "echo \$\$ >$(printf %q "$d/node.$n.tmp"); exec $cmd" </dev/null >>"$d/node.$n.log" 2>&1) &
  disown
  local i; for i in $(seq 100); do [ -s "$d/node.$n.tmp" ] && break; sleep 0.02; done
  local pid; pid=$(cat "$d/node.$n.tmp"); rm -f "$d/node.$n.tmp"
  printf '%s %s\n' "$pid" "$(born "$pid")" >"$d/node.$n.pid"
}
signal_node() { # DIR N SIG
  alive "$1/node.$2.pid" || return 1
  local pid t; read -r pid t <"$1/node.$2.pid"; kill "-$3" "$pid"
}
stop_node() { # DIR N: TERM, ten seconds, KILL
  local i
  signal_node "$1" "$2" CONT 2>/dev/null || true
  signal_node "$1" "$2" TERM || return 0
  for i in $(seq 100); do alive "$1/node.$2.pid" || return 0; sleep 0.1; done
  signal_node "$1" "$2" KILL || true
  for i in $(seq 50); do alive "$1/node.$2.pid" || return 0; sleep 0.1; done
}
stop_instance() { # DIR
  local d=$1 f n p
  [ -d "$d" ] || return 0
  [ -x "$d/before-down" ] && "$d/before-down" >>"$d/down.log" 2>&1 || true
  for f in $(ls -r "$d"/node.*.pid 2>/dev/null); do n=${f##*/node.}; stop_node "$d" "${n%.pid}"; done
  [ -x "$d/after-down" ] && "$d/after-down" >>"$d/down.log" 2>&1 || true
  if [ -f "$d/ports" ]; then while read -r p; do rmdir "$STATE/ports/$p" 2>/dev/null || true; done <"$d/ports"; fi
  if [ -n "${KEEP:-}" ]; then rm -rf "$d.kept"; mv "$d" "$d.kept"; say "kept in $d.kept"; else rm -rf "$d"; fi
}
await() { # SECONDS WHAT CMD...: poll until CMD succeeds, or a node of ours dies
  local end=$((SECONDS + $1)) what=$2 f; shift 2
  until "$@" >/dev/null 2>&1; do
    for f in "$DIR"/node.*.pid; do [ -e "$f" ] && { alive "$f" || die "$what: ${f##*/} ended early"; }; done
    [ $SECONDS -lt $end ] || die "$what: not ready in time"
    sleep 0.1
  done
}
tcp_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# --- certificates ----------------------------------------------------------
make_ca() { # DIR/tls: a throwaway CA (EC P-256)
  mkdir -p "$DIR/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -sha256 \
    -subj "/CN=pointsman test CA" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$DIR/tls/ca.key" -out "$DIR/tls/ca.pem" 2>/dev/null
}
make_cert() { # NAME CN SAN [SUBJECT]: a server+client certificate of that CA, PKCS#8 key
  local t=$DIR/tls
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "${4:-/CN=$2}" -keyout "$t/$1.key" -out "$t/$1.csr" 2>/dev/null
  openssl x509 -req -in "$t/$1.csr" -CA "$t/ca.pem" -CAkey "$t/ca.key" -CAcreateserial -days 30 -sha256 -out "$t/$1.pem" \
    -extfile <(printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$3") 2>/dev/null
}
LOOPBACK_SAN="DNS:localhost,IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,IP:::1"
