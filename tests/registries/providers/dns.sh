# BIND 9, authoritative for the zone example.test on 127.0.0.1 with signed dynamic updates and no recursion.
# Its zone broken.test cannot be loaded: SERVFAIL.
# shellcheck shell=bash disable=SC2034
start() {
  need named tsig-keygen dig nsupdate
  local dns; port dns
  mkdir -p "$DIR/zone"
  tsig-keygen -a hmac-sha256 registrar >"$DIR/tsig.key"
  cat >"$DIR/zone/example.test.db" <<'EOF'
$ORIGIN example.test.
$TTL 1
@     IN SOA ns1 admin 1 3600 60 86400 1
@     IN NS  ns1
ns1   IN A   127.0.0.1
web1  IN A   127.0.0.1
web2  IN A   127.0.0.2
web6  IN AAAA ::1
web   IN A   127.0.0.1
web   IN A   127.0.0.2
web   IN AAAA ::1
www   IN CNAME web
_http._tcp.web IN SRV 0 10 8080 web1
_http._tcp.web IN SRV 0 20 8081 web2
_http._tcp.web IN SRV 10 0 8082 web6
elsewhere IN NS ns.elsewhere
ns.elsewhere IN A 127.0.0.9
EOF
  cat >"$DIR/named.conf" <<EOF
include "$DIR/tsig.key";
options { directory "$DIR/zone"; pid-file "$DIR/zone/pid"; session-keyfile "$DIR/zone/session.key"; lock-file none;
  managed-keys-directory "$DIR/zone"; listen-on port $dns { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; empty-zones-enable no; minimal-responses no-auth; rrset-order { order cyclic; };
  notify no; max-journal-size 1m; };
controls { };
zone "example.test" { type primary; file "$DIR/zone/example.test.db"; allow-update { key registrar; }; };
zone "broken.test" { type primary; file "$DIR/zone/no-such-file"; };
EOF
  spawn 1 named -g -n 1 -U 1 -c "$DIR/named.conf"
  await 20 dns answers "$dns"
  emit DNS_SERVER "127.0.0.1:$dns"; emit DNS_KEY "$DIR/tsig.key"
}
answers() { dig +time=1 +tries=1 -p "$1" @127.0.0.1 example.test SOA | grep -q 'status: NOERROR'; }
