#!/usr/bin/env bash
# run.sh ARGUMENT…  Builds the test of this folder and what a Kubernetes node consists of, and runs the test, with go test's -test.… arguments, inside network, mount and process
# namespaces of its own, in which it starts a node. When it ends, whatever it left running, mounted or configured ends with the namespaces; the control groups and the working folder are
# removed here. Nothing of the machine's own network or settings is touched. Logs of the node's parts are left in .build/k8s/logs.
#
# Where the test cannot run it says so, loudly, and fails; with K8S_OPTIONAL=1 it says so and succeeds.
set -euo pipefail

group=sluice-k8s # the pods' control groups are below it; node/files/kubelet.yaml names it too

if [ "${1-}" = --inside ]; then # process 1 of the namespaces
  shift
  mount --make-rshared / # of these namespaces alone; the kubelet's mounts are to be seen by the containers
  for folder in /run /var/log /var/lib/kubelet /var/lib/cni; do
    [ ! -d "$folder" ] || mount -t tmpfs -o mode=755 tmpfs "$folder"
  done
  mkdir -p /run/netns /run/lock
  # What the kubelet asks of a machine's settings it reads here, and the machine keeps its own.
  while read -r name value; do
    echo "$value" >"$K8S_WORK/sysctl.${name//\//.}"
    mount --bind "$K8S_WORK/sysctl.${name//\//.}" "/proc/sys/$name"
  done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
  status=0
  "$@" || status=$? # not exec: this shell takes the status of what is left to process 1
  exit "$status"
fi

refuse() {
  printf '%s\n' "" "##########################################################################" \
    "##  THE KUBERNETES TEST DID NOT RUN" "##  $*" \
    "##########################################################################" "" >&2
  [ "${K8S_OPTIONAL:-}" = 1 ] && exit 0
  exit 1
}
broken() {
  echo "k8s: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || refuse "It needs root for its namespaces: run make k8s-test as root."
for program in containerd ctr runc etcd nft conntrack ip nsenter unshare prometheus; do
  command -v "$program" >/dev/null || refuse "$program is not in PATH: apt-get install what .tools/deps.sh lists under k8s."
done
unshare --mount --net --pid --fork true 2>/dev/null || refuse "This machine lets nobody have namespaces of their own."
groups=(/sys/fs/cgroup)
[ -e /sys/fs/cgroup/cgroup.controllers ] || groups=(/sys/fs/cgroup/*/)
[ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] || refuse "There are no control groups at /sys/fs/cgroup."

grep -qE '^([^ ]+ ){4}/ ' /proc/self/mountinfo || refuse "The root directory is no mount point (this is a chroot): containers cannot be made in it."

exec 9<"$(command -v containerd)"
flock -n 9 || refuse "Another one is running on this machine."

root=$(cd "$(dirname "$0")/../../.." && pwd)
make -C "$root" images IMAGES="edge router stub" || broken "the images could not be built, see above"
cd "$root/deploy/e2e/k8s" # where go test would run it
logs=$root/.build/k8s/logs
rm -rf "$logs"
mkdir -p "$logs"
K8S_BIN=$("$root/.tools/k8s/build.sh" "$(readlink -f "$root/.cache")/k8s") || broken "what a node consists of could not be built, see above"
go test -c -tags k8s -o "$root/.build/k8s/driver" . || broken "the test could not be built, see above"
K8S_WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/sluice-k8s.XXXXXX")
export K8S_BIN K8S_WORK
made=()
for folder in /var/lib/kubelet /var/lib/cni; do [ -d "$folder" ] || { mkdir "$folder"; made+=("$folder"); }; done

forget() { for g in "${groups[@]}"; do [ ! -d "$g/$group" ] || find "$g/$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; done; }
leave() {
  # The kernel takes a moment to end what was in the namespaces; a group can be removed when nothing is in it any more.
  for _ in $(seq 50); do
    forget
    ls -d "${groups[@]/%//$group}" >/dev/null 2>&1 || break
    sleep 0.1
  done
  [ ${#made[@]} -eq 0 ] || rmdir "${made[@]}" 2>/dev/null || true
  rm -rf "$K8S_WORK"
}
trap leave EXIT
forget
for g in "${groups[@]}"; do
  mkdir -p "$g/$group" 2>/dev/null || true
  # The first hierarchy's kind (cgroup v1) begins without processors and memory of its own.
  for share in cpuset.mems cpuset.cpus; do [ ! -e "$g/$group/$share" ] || cat "$g/$share" >"$g/$group/$share" 2>/dev/null || true; done
done
unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private -- ./run.sh --inside "$root/.build/k8s/driver" -test.v -test.timeout 20m "$@"
