# Docker Engine (Debian docker.io), a private daemon: own socket, own data, own bridge, no firewall rules. Needs root.
# Image pointsman-web:1 is made here from the static busybox: it answers HTTP on 8080.
# shellcheck shell=bash disable=SC2034
start() {
  need dockerd containerd docker ip busybox
  [ "$(id -u)" = 0 ] || die "docker needs root"
  . "$HERE/tools/image.sh"
  local br net tcp n; port tcp
  make_ca; make_cert server localhost "$LOOPBACK_SAN"; make_cert client router "DNS:router"
  n=$((RANDOM % 200 + 20)); br=regd$n; net=10.214.$n
  while ip link show "$br" >/dev/null 2>&1; do n=$((n + 1)); br=regd$n; net=10.214.$n; done
  mkdir -p "$DIR/root" "$DIR/exec"
  ip link add "$br" type bridge && ip addr add "$net.1/24" dev "$br" && ip link set "$br" up
  cat >"$DIR/after-down" <<EOF
#!/bin/sh
# A daemon that is dead left its containers behind.
for f in "$DIR"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/*/init.pid; do [ ! -s "\$f" ] || kill -9 "\$(cat "\$f")"; done
for m in \$(awk -v d="$DIR/" 'index(\$2, d) == 1 {print \$2}' /proc/mounts | sort -r); do umount -l "\$m"; done
ip link del $br
EOF
  chmod +x "$DIR/after-down"
  local sock=$DIR/d.sock; [ ${#sock} -lt 100 ] || die "state path too long for a socket: set REGISTRIES_STATE"
  # Containers outlive the daemon, so that a test can kill it.
  echo '{ "live-restore": true }' >"$DIR/daemon.json"
  # A daemon that was killed takes its containerd along. Both leave pid files behind, and seem alive to the next daemon
  # where nobody reaps them.
  spawn 1 sh -c 'rm -f "$0/dockerd.pid" "$0/exec/containerd/containerd.pid"; exec dockerd "$@"' "$DIR" --pidfile "$DIR/dockerd.pid" --host "unix://$sock" --host "tcp://127.0.0.1:$tcp" --data-root "$DIR/root" --exec-root "$DIR/exec" \
    --bridge "$br" --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --config-file "$DIR/daemon.json" --default-address-pool "base=10.215.0.0/16,size=24" \
    --tlsverify --tlscacert "$DIR/tls/ca.pem" --tlscert "$DIR/tls/server.pem" --tlskey "$DIR/tls/server.key" \
    --exec-opt native.cgroupdriver=cgroupfs --shutdown-timeout 3 --storage-driver "${DOCKER_STORAGE_DRIVER:-overlay2}"
  cat >"$DIR/before-down" <<EOF
#!/bin/sh
d() { docker -H "unix://$sock" "\$@"; }
for c in \$(d ps -aq); do d rm -f "\$c"; done
d network prune -f
EOF
  chmod +x "$DIR/before-down"
  await 30 docker docker -H "unix://$sock" version
  image | docker -H "unix://$sock" import -c 'CMD ["/bin/httpd","-f","-p","8080","-h","/www"]' - pointsman-web:1 >/dev/null
  emit DOCKER_SOCKET "$sock"; emit DOCKER_HTTPS "https://127.0.0.1:$tcp"; emit DOCKER_CERTS "$DIR/tls"
}
