# Consul 1.8.7. Variants: dev (default, in memory), server (on disk), tls (HTTPS only, ACLs deny by default), mtls (client certificates too), cluster (three servers),
# wan (two datacenters).
# shellcheck shell=bash disable=SC2034
start() {
  CONSUL=$CACHE/consul/usr/bin/consul
  [ -x "$CONSUL" ] || CONSUL=$(command -v consul) || die "consul is missing: ./install consul"
  need curl openssl
  case ${1:-dev} in dev) dev ;; server) server ;; tls | mtls) tls "$1" ;; cluster) cluster ;; wan) wan ;; *) die "consul variants: dev server tls mtls cluster wan" ;; esac
}
leader() { curl -fsS "$@" | grep -q ':'; }
dev() {
  local http dns grpc server serf; port http; port dns; port grpc; port server; port serf
  mkdir -p "$DIR/conf"
  spawn 1 "$CONSUL" agent -dev -node node1 -bind 127.0.0.1 -client 127.0.0.1 -log-level info \
    -http-port "$http" -dns-port "$dns" -grpc-port "$grpc" -server-port "$server" -serf-lan-port "$serf" -serf-wan-port -1 \
    -hcl 'disable_update_check = true' -hcl 'disable_coordinates = true'
  await 30 consul leader "http://127.0.0.1:$http/v1/status/leader"
  await 30 consul curl -fsS "http://127.0.0.1:$http/v1/health/service/consul?passing"
  emit CONSUL_URL "http://127.0.0.1:$http"; emit CONSUL_DNS "127.0.0.1:$dns"
}
# One server that remembers: a restart finds what was registered.
server() {
  local http dns server serf; port http; port dns; port server; port serf
  spawn 1 "$CONSUL" agent -server -bootstrap-expect 1 -node node1 -data-dir "$DIR/data" -bind 127.0.0.1 -client 127.0.0.1 \
    -log-level info -http-port "$http" -dns-port "$dns" -server-port "$server" -serf-lan-port "$serf" -serf-wan-port -1 \
    -raft-protocol 3 -hcl 'disable_update_check = true' -hcl 'disable_coordinates = true' -hcl 'ports { grpc = -1 }' \
    -hcl 'performance { raft_multiplier = 1 leave_drain_time = "100ms" }' -hcl 'leave_on_terminate = false'
  await 30 consul leader "http://127.0.0.1:$http/v1/status/leader"
  emit CONSUL_URL "http://127.0.0.1:$http"; emit CONSUL_DNS "127.0.0.1:$dns"
}
# Three servers on 127.0.0.1, .2, .3 with the same ports, on disk; node N is 127.0.0.N. They have coordinates, for `near`.
cluster() {
  local http server serf i list=; port http; port server; port serf
  for i in 1 2 3; do
    spawn $i "$CONSUL" agent -server -bootstrap-expect 3 -node node$i -data-dir "$DIR/data$i" -bind 127.0.0.$i -client 127.0.0.$i \
      -log-level info -http-port "$http" -dns-port -1 -server-port "$server" -serf-lan-port "$serf" -serf-wan-port -1 \
      -retry-join "127.0.0.1:$serf" -retry-join "127.0.0.2:$serf" -retry-join "127.0.0.3:$serf" -retry-interval 1s \
      -raft-protocol 3 -hcl 'disable_update_check = true' -hcl 'ports { grpc = -1 }' -hcl 'leave_on_terminate = false' \
      -hcl 'performance { raft_multiplier = 1 leave_drain_time = "100ms" }' -hcl 'autopilot { cleanup_dead_servers = false }'
    list=$list${list:+,}http://127.0.0.$i:$http
  done
  three() { [ "$(curl -fsS "http://127.0.0.1:$http/v1/status/peers" | tr ',' '\n' | grep -c :)" = 3 ]; }
  for i in 1 2 3; do await 60 "consul node$i" leader "http://127.0.0.$i:$http/v1/status/leader"; done
  await 60 "consul peers" three
  for i in 1 2 3; do await 60 "consul node$i" curl -fsS "http://127.0.0.$i:$http/v1/catalog/nodes"; done
  emit CONSUL_URLS "$list"
}
# Two datacenters of one server each, dc1 and dc2, that know each other; node N is that of dcN.
wan() {
  local i http server serf wan first= list=
  for i in 1 2; do
    port http; port server; port serf; port wan; first=${first:-$wan}
    spawn $i "$CONSUL" agent -server -bootstrap-expect 1 -datacenter dc$i -node node$i -data-dir "$DIR/data$i" -bind 127.0.0.1 \
      -client 127.0.0.1 -log-level info -http-port "$http" -dns-port -1 -server-port "$server" -serf-lan-port "$serf" \
      -serf-wan-port "$wan" -retry-join-wan "127.0.0.1:$first" -retry-interval 1s -raft-protocol 3 \
      -hcl 'disable_update_check = true' -hcl 'disable_coordinates = true' -hcl 'ports { grpc = -1 }' \
      -hcl 'performance { raft_multiplier = 1 leave_drain_time = "100ms" }' -hcl 'leave_on_terminate = false'
    list=$list${list:+,}http://127.0.0.1:$http
    await 30 "consul dc$i" leader "http://127.0.0.1:$http/v1/status/leader"
  done
  for i in 1 2; do await 30 "consul dc$i from dc1" curl -fsS "${list%%,*}/v1/health/service/consul?dc=dc$i"; done
  emit CONSUL_URLS "$list"
}
# One server: HTTPS with a throwaway CA, client certificates checked when offered (mtls: demanded), ACLs deny by default.
tls() {
  local http https dns server serf k demanded=false; port http; port https; port dns; port server; port serf
  make_ca; make_cert server server.dc1.consul "DNS:server.dc1.consul,$LOOPBACK_SAN"; make_cert client client.dc1.consul "DNS:client.dc1.consul"
  k=$(uuid); [ "$1" = mtls ] && demanded=true
  cat >"$DIR/consul.hcl" <<EOF
node_name = "node1"
server = true
bootstrap_expect = 1
data_dir = "$DIR/data"
bind_addr = "127.0.0.1"
client_addr = "127.0.0.1"
disable_update_check = true
disable_coordinates = true
ports { http = -1 https = $https dns = $dns server = $server serf_lan = $serf serf_wan = -1 grpc = -1 }
ca_file = "$DIR/tls/ca.pem"
cert_file = "$DIR/tls/server.pem"
key_file = "$DIR/tls/server.key"
verify_incoming_rpc = true
verify_incoming_https = $demanded
verify_outgoing = true
verify_server_hostname = true
tls_min_version = "tls12"
raft_protocol = 3
performance { raft_multiplier = 1 leave_drain_time = "100ms" }
leave_on_terminate = false
acl { enabled = true default_policy = "deny" down_policy = "extend-cache" tokens { master = "$k" } }
EOF
  spawn 1 "$CONSUL" agent -config-file "$DIR/consul.hcl"
  local u="https://127.0.0.1:$https" a=(--cacert "$DIR/tls/ca.pem" --cert "$DIR/tls/client.pem" --key "$DIR/tls/client.key")
  await 30 consul leader "${a[@]}" "$u/v1/status/leader"
  put() { curl -fsS "${a[@]}" -H "X-Consul-Token: $k" -X PUT --data "$2" "$u/v1/$1"; }
  await 30 consul-acl put acl/policy '{"Name":"probe","Rules":"node_prefix \"\" { policy = \"read\" }"}'
  put acl/policy '{"Name":"agent","Rules":"node_prefix \"\" { policy = \"write\" } service_prefix \"\" { policy = \"read\" }"}' >/dev/null
  put acl/policy '{"Name":"router","Rules":"node_prefix \"\" { policy = \"read\" } service_prefix \"api-\" { policy = \"read\" } query_prefix \"\" { policy = \"read\" }"}' >/dev/null
  put acl/policy '{"Name":"registrar","Rules":"node_prefix \"\" { policy = \"read\" } service_prefix \"api-\" { policy = \"write\" } key_prefix \"\" { policy = \"deny\" }"}' >/dev/null
  token() { local t; t=$(uuid); put acl/token "{\"SecretID\":\"$t\",\"Description\":\"$1\",\"Policies\":[{\"Name\":\"$1\"}]}" >/dev/null; printf %s "$t"; }
  local ta tr tw; ta=$(token agent); tr=$(token router); tw=$(token registrar)
  put agent/token/agent "{\"Token\":\"$ta\"}"
  emit CONSUL_URL "$u"; emit CONSUL_CACERT "$DIR/tls/ca.pem"
  emit CONSUL_CLIENT_CERT "$DIR/tls/client.pem"; emit CONSUL_CLIENT_KEY "$DIR/tls/client.key"
  emit CONSUL_TOKEN_MANAGEMENT "$k"; emit CONSUL_TOKEN_READ "$tr"; emit CONSUL_TOKEN_WRITE "$tw"
}
uuid() { cat /proc/sys/kernel/random/uuid; }
