# etcd of this Debian (3.4 in 12, 3.5 in 13). Variants: single (default), tls (HTTPS, users), mtls (client certificates too), cluster (three members).
# shellcheck shell=bash disable=SC2034
start() {
  need etcd etcdctl openssl
  case ${1:-single} in single) single ;; tls | mtls) tls "$1" ;; cluster) cluster ;; *) die "etcd variants: single tls mtls cluster" ;; esac
}
ctl() { ETCDCTL_API=3 etcdctl --dial-timeout=2s --command-timeout=3s "$@"; }
member() { # N CLIENT_URL PEER_URL CLUSTER OPTION...: starts node N, or starts it again with what it knows
  local n=$1 client=$2 peer=$3 all=$4; shift 4
  spawn "$n" etcd --name "node$n" --data-dir "$DIR/data$n" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "$all" --initial-cluster-token "$ID" \
    --heartbeat-interval 100 --election-timeout 1000 --auto-compaction-retention 0 "$@"
}
single() {
  local c p; port c; port p
  member 1 "http://127.0.0.1:$c" "http://127.0.0.1:$p" "node1=http://127.0.0.1:$p"
  await 30 etcd ctl --endpoints "http://127.0.0.1:$c" endpoint health
  emit ETCD_URL "http://127.0.0.1:$c"; emit ETCD_DATA "$DIR/data1"
}
# Users: root/root; router/router, who reads /services/ only.
tls() {
  local c p u m=() a=(); port c; port p; u=https://127.0.0.1:$c
  make_ca; make_cert server localhost "$LOOPBACK_SAN"; make_cert root root "DNS:root"
  make_cert named router "DNS:router"; make_cert client "" "DNS:router" /O=pointsman # the gateway wants no common name
  [ "$1" = mtls ] && m=(--client-cert-auth --trusted-ca-file "$DIR/tls/ca.pem")
  member 1 "$u" "http://127.0.0.1:$p" "node1=http://127.0.0.1:$p" --cert-file "$DIR/tls/server.pem" --key-file "$DIR/tls/server.key" "${m[@]}"
  a=(--endpoints "$u" --cacert "$DIR/tls/ca.pem" --cert "$DIR/tls/root.pem" --key "$DIR/tls/root.key")
  await 30 etcd ctl "${a[@]}" endpoint health
  { ctl "${a[@]}" user add root:root; ctl "${a[@]}" role add root || true; ctl "${a[@]}" user grant-role root root
    ctl "${a[@]}" role add router; ctl "${a[@]}" role grant-permission --prefix=true router read /services/
    ctl "${a[@]}" user add router:router; ctl "${a[@]}" user grant-role router router
    ctl "${a[@]}" auth enable; } >"$DIR/auth.log" 2>&1
  emit ETCD_URL "$u"; emit ETCD_CACERT "$DIR/tls/ca.pem"
  emit ETCD_CLIENT_CERT "$DIR/tls/client.pem"; emit ETCD_CLIENT_KEY "$DIR/tls/client.key"
  emit ETCD_NAMED_CERT "$DIR/tls/named.pem"; emit ETCD_NAMED_KEY "$DIR/tls/named.key"
}
# Three members on 127.0.0.1, .2, .3 with the same ports; node N is 127.0.0.N.
cluster() {
  local c p i ini= list=; port c; port p
  for i in 1 2 3; do ini=$ini${ini:+,}node$i=http://127.0.0.$i:$p; list=$list${list:+,}http://127.0.0.$i:$c; done
  for i in 1 2 3; do member $i "http://127.0.0.$i:$c" "http://127.0.0.$i:$p" "$ini"; done
  for i in 1 2 3; do await 30 "etcd node$i" ctl --endpoints "http://127.0.0.$i:$c" endpoint health; done
  emit ETCD_URLS "$list"
}
