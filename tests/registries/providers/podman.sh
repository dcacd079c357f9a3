# Podman with its Docker-compatible API (Debian podman), a private service: own socket, data, bridge and settings. Needs root.
# Image pointsman-web:1 is that of docker.sh. The command `docker` speaks to it; $PODMAN is its own command.
# shellcheck shell=bash disable=SC2034
start() {
  need podman conmon docker ip busybox
  [ "$(id -u)" = 0 ] || die "podman needs root"
  . "$HERE/tools/image.sh"
  local br n; n=$((RANDOM % 200 + 20)); br=regp$n
  while ip link show "$br" >/dev/null 2>&1; do n=$((n + 1)); br=regp$n; done
  mkdir -p "$DIR/net"
  # Limits that a container gets even where nobody may raise his own. Locks and events in files: other kinds are shared by
  # all of Podman on the machine, and a service that begins anew frees the locks of all.
  cat >"$DIR/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
[network]
network_backend = "netavark"
default_subnet_pools = [{"base" = "10.217.0.0/16", "size" = 24}]
EOF
  # Internal: nobody needs to get out of it, and there are no firewall rules for it. A network that a test makes has some.
  cat >"$DIR/net/podman.json" <<EOF
{ "name": "podman", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9", "driver": "bridge",
  "network_interface": "$br", "subnets": [{ "subnet": "10.216.$n.0/24", "gateway": "10.216.$n.1" }], "ipv6_enabled": false,
  "internal": true, "dns_enabled": false, "ipam_options": { "driver": "host-local" } }
EOF
  cat >"$DIR/podman" <<EOF
#!/bin/sh
export CONTAINERS_CONF="$DIR/containers.conf"
exec podman --root "$DIR/root" --runroot "$DIR/run" --tmpdir "$DIR/tmp" --network-config-dir "$DIR/net" "\$@"
EOF
  # Containers outlive the service, dead or not.
  cat >"$DIR/after-down" <<EOF
#!/bin/sh
timeout 20 "$DIR/podman" rm -fa -t 0
timeout 20 "$DIR/podman" network prune -f
for m in \$(awk -v d="$DIR/" 'index(\$2, d) == 1 {print \$2}' /proc/mounts | sort -r); do umount -l "\$m"; done
! ip link show $br || ip link del $br
EOF
  chmod +x "$DIR/podman" "$DIR/after-down"
  local sock=$DIR/p.sock; [ ${#sock} -lt 100 ] || die "state path too long for a socket: set REGISTRIES_STATE"
  spawn 1 "$DIR/podman" system service --time 0 "unix://$sock"
  await 30 podman docker -H "unix://$sock" version
  image | docker -H "unix://$sock" import -c 'CMD ["/bin/httpd","-f","-p","8080","-h","/www"]' - pointsman-web:1 >/dev/null
  # If the kernel, or a container around all this, gives no right to run one, that is found here and not by each test.
  docker -H "unix://$sock" run --rm pointsman-web:1 /bin/test 1 >/dev/null
  emit PODMAN_SOCKET "$sock"; emit PODMAN "$DIR/podman"
}
