# A real kube-apiserver 1.20.2 with its own etcd: list, watch, bookmarks, 410, tokens and RBAC are the genuine ones.
# There is no kubelet and no controller: tests write EndpointSlices themselves. discovery.k8s.io/v1 came with 1.21; here it
# is a CustomResourceDefinition of the same shape, which unlike the built-in type allows loopback addresses.
# Node 1 is etcd, node 2 the API server.
# shellcheck shell=bash disable=SC2034
start() {
  local bin=$CACHE/kube-apiserver-1.20.2 client peer secure u t=$DIR/tls
  [ -x "$bin" ] || die "kube-apiserver is missing: ./install kubernetes"
  [ -z "${1:-}" ] || die "kubernetes has no variants"
  need etcd curl openssl
  port client; port peer; port secure; u=https://127.0.0.1:$secure
  make_ca; make_cert apiserver kube-apiserver "DNS:kubernetes.default.svc,$LOOPBACK_SAN"
  openssl genrsa -out "$t/sa.key" 2048 2>/dev/null; openssl rsa -in "$t/sa.key" -pubout -out "$t/sa.pub" 2>/dev/null
  printf 'admin-token,admin,1,"system:masters"\nrouter-token,router,2\nstranger-token,stranger,3\n' >"$DIR/tokens.csv"
  spawn 1 etcd --name node1 --data-dir "$DIR/data1" --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "node1=http://127.0.0.1:$peer"
  await 30 etcd curl -fsS "http://127.0.0.1:$client/health"
  spawn 2 "$bin" --etcd-servers "http://127.0.0.1:$client" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$secure" \
    --tls-cert-file "$t/apiserver.pem" --tls-private-key-file "$t/apiserver.key" --client-ca-file "$t/ca.pem" --token-auth-file "$DIR/tokens.csv" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$t/sa.pub" --service-account-signing-key-file "$t/sa.key" \
    --authorization-mode RBAC --service-cluster-ip-range 10.0.0.0/24 --disable-admission-plugins ServiceAccount \
    --runtime-config discovery.k8s.io/v1beta1=false --endpoint-reconciler-type none --v 1
  k() { curl -fsS --cacert "$t/ca.pem" -H 'Authorization: Bearer admin-token' -H 'Content-Type: application/json' "$@"; }
  make() { k -o /dev/null --data "$2" "$u/apis/$1"; } # PATH JSON
  await 60 kube-apiserver k "$u/readyz"
  # Just after a start it may not yet know its own rules: be patient.
  await 20 definition make apiextensions.k8s.io/v1/customresourcedefinitions "$DEFINITION"
  await 20 endpointslices k "$u/apis/discovery.k8s.io/v1/endpointslices"
  # What docs/registries/kubernetes.md grants, and no more.
  local rbac=rbac.authorization.k8s.io
  await 20 role make $rbac/v1/clusterroles '{"apiVersion":"'$rbac'/v1","kind":"ClusterRole","metadata":{"name":"pointsman"},"rules":[{"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"],"verbs":["list","watch"]}]}'
  await 20 binding make $rbac/v1/clusterrolebindings '{"apiVersion":"'$rbac'/v1","kind":"ClusterRoleBinding","metadata":{"name":"pointsman"},"roleRef":{"apiGroup":"'$rbac'","kind":"ClusterRole","name":"pointsman"},"subjects":[{"kind":"User","name":"router","apiGroup":"'$rbac'"}]}'
  allowed() { curl -fsS --cacert "$t/ca.pem" -H 'Authorization: Bearer router-token' "$u/apis/discovery.k8s.io/v1/endpointslices"; }
  await 20 rbac allowed
  emit KUBERNETES_URL "$u"; emit KUBERNETES_CA "$t/ca.pem"; emit KUBERNETES_ETCD "http://127.0.0.1:$client"
  emit KUBERNETES_TOKEN_ADMIN admin-token; emit KUBERNETES_TOKEN_ROUTER router-token; emit KUBERNETES_TOKEN_STRANGER stranger-token
}
DEFINITION='{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"endpointslices.discovery.k8s.io","annotations":{"api-approved.kubernetes.io":"unapproved, test only"}},"spec":{"group":"discovery.k8s.io","scope":"Namespaced","names":{"plural":"endpointslices","singular":"endpointslice","kind":"EndpointSlice","listKind":"EndpointSliceList"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"required":["addressType"],"properties":{"addressType":{"type":"string","enum":["IPv4","IPv6","FQDN"]},"endpoints":{"type":"array","maxItems":1000,"items":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"required":["addresses"],"properties":{"addresses":{"type":"array","minItems":1,"maxItems":100,"items":{"type":"string"}}}},"nullable":true},"ports":{"type":"array","nullable":true,"items":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}}]}}'
