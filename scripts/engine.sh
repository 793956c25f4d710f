#!/usr/bin/env bash
# Starts a container engine for one test: Podman or Docker's daemon, with its own storage, settings and
# socket, and with images made here. Several engines may run at a time. The machine's own engine is not
# touched.
set -euo pipefail

SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

usage() {
	cat <<-HELP
		usage: scripts/engine.sh start DIR [HOST:PORT]   start an engine with all its files in DIR
		       scripts/engine.sh images DIR [PORT]       make the images of the tests
		       scripts/engine.sh stand-in DIR NAME [CHANGE …]
		                                                 make a stand-in for the image of a template
		       scripts/engine.sh client DIR ARGUMENT …   run the engine's own command, podman or docker
		       scripts/engine.sh podman DIR ARGUMENT …   run podman; fails if the engine is Docker
		       scripts/engine.sh halt DIR                end the service; containers keep running
		       scripts/engine.sh stop DIR                end the engine and everything it started, and remove DIR

		start    prints the path of the socket, which speaks the Docker API, as one line. DIR/network contains
		         the network for containers: bridge, or host on a machine without bridges. DIR/namespace
		         contains the path of the network namespace, if the engine has its own. Pulls from
		         registry.kaisar.test go to HOST:PORT over plain HTTP, if it is given. A halted engine starts
		         again with its containers.
		stand-in makes localhost/kaisar-template-NAME:1 for the template of templates/NAME.json, with changes as
		         in a Dockerfile, such as USER and ENTRYPOINT
		images   localhost/kaisar-web:1      serves a page on PORT (8080), and the status of its process under
		                                     /cgi-bin/self
		         localhost/kaisar-exit:1     serves the same; on a request for /cgi-bin/exit it ends with code 3
		         localhost/kaisar-moody:1    serves the same page, but does not listen at its second start
		         localhost/kaisar-end:1      ends with code 3 at once
		         localhost/kaisar-broken:1   has a command that does not exist
		         localhost/kaisar-deaf:1     runs, and never listens on its port
		         localhost/kaisar-portless:1 runs, and exposes no port
		         localhost/kaisar-tell:1     on each port of $PORTS (PORT) serves a page that names the port, its
		                                     arguments under /arguments, and its environment under /environment

		Needs root and busybox-static; Podman needs podman, runc and netavark, Docker needs docker.io.

		environment of the first start:
		  KAISAR_ENGINE             podman (default) or docker
		  KAISAR_ENGINE_NAMESPACE   machine (default): ports are published on the machine's loopback address;
		                            own: bridges, firewall rules and published ports are in a network namespace of
		                            the engine, which is removed with it. Docker separates networks only there
		                            (docs/containers.md).
		  KAISAR_ENGINE_NETWORK     bridge or host (default: bridge if this machine supports it)
	HELP
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# --- shared by both engines ---------------------------------------------------------------------

# Prints the process in DIR/$1.pid, if it runs.
process_of() {
	local pid
	pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 1
	# The id may be that of another process by now.
	{ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$DIR/" || return 1
	printf '%s' "$pid"
}

# Folders that the engines of one machine share, whatever their settings. An engine with its own namespaces
# sees folders in DIR instead.
SHARED=(/etc/docker /run/containerd /run/containers /run/docker /run/netns /var/lib/cni)

# Creates a mount namespace for the engine, and with KAISAR_ENGINE_NAMESPACE=own a network namespace. An idle
# process holds them, so that a halted engine finds them again.
make_namespaces() {
	local kinds=(--mount --propagation slave) pid folder
	if process_of holder >/dev/null; then return; fi
	if [[ "$NAMESPACE" == own ]]; then kinds+=(--net); fi
	rm -f "$DIR/holder"
	mkfifo "$DIR/holder"
	# The pipe never gets a writer, so the process waits forever.
	setsid unshare "${kinds[@]}" cat "$DIR/holder" </dev/null >/dev/null 2>>"$DIR/engine.log" &
	pid=$!
	printf '%s\n' "$pid" >"$DIR/holder.pid"
	until [[ "$(cat "/proc/$pid/comm" 2>/dev/null)" == cat ]]; do
		kill -0 "$pid" 2>/dev/null || die "cannot create a namespace: $(tail -n 1 "$DIR/engine.log")"
		sleep 0.02
	done
	for folder in "${SHARED[@]}"; do
		[[ -d "$folder" ]] || continue
		mkdir -p "$DIR/private$folder"
		within mount --bind "$DIR/private$folder" "$folder"
	done
	if [[ "$NAMESPACE" == own ]]; then
		within ip link set lo up
		printf '/proc/%s/ns/net\n' "$pid" >"$DIR/namespace"
	fi
}

# Sets WITHIN to a prefix that runs a command in the engine's namespaces, if it has any.
find_namespaces() {
	local pid
	WITHIN=()
	if pid=$(process_of holder); then
		WITHIN=(nsenter --target "$pid" --mount)
		if [[ "$NAMESPACE" == own ]]; then WITHIN+=(--net); fi
		WITHIN+=(--)
	fi
}

within() {
	find_namespaces
	"${WITHIN[@]}" "$@"
}

# Folder with the networks that engines of this machine have reserved.
SUBNETS=/run/kaisar-engines

# Sets SUBNET to the first three bytes of a network for tests (RFC 2544) that no other engine uses, and PORTS
# to the first and last of a range of ports that no other engine uses.
reserve_subnet() {
	local at owner
	mkdir -p "$SUBNETS"
	exec {lock}>"$SUBNETS/lock"
	flock "$lock"
	for ((at = 0; at < 512; at++)); do
		SUBNET="198.$((18 + at / 256)).$((at % 256))"
		owner=$(cat "$SUBNETS/$SUBNET" 2>/dev/null || true)
		# A killed test releases nothing, but its folder may be gone.
		if [[ -z "$owner" || "$owner" == "$DIR" || ! -d "$owner" ]]; then break; fi
	done
	printf '%s\n' "$DIR" >"$SUBNETS/$SUBNET"
	exec {lock}>&-
	PORTS=$((10000 + at * 40))$'\t'$((10039 + at * 40))
}

release_subnet() {
	local net
	for net in "$SUBNETS"/198.*; do
		if [[ "$(cat "$net" 2>/dev/null)" == "$DIR" ]]; then
			remove_rules "${net##*/}"
			rm -f "$net"
		fi
	done
}

# Removes rules for published ports to the network $1 that Podman has not removed: its cleanup after a
# container's end may be interrupted, and a port of the machine would then lead nowhere.
remove_rules() {
	local rule
	{ iptables -w -t nat -S 2>/dev/null || true; } | sed -n "s/^-A \\(.* $1\\.[0-9].*\\)/\\1/p" |
		while read -r rule; do
			# shellcheck disable=SC2086 # a rule is words
			iptables -w -t nat -D $rule 2>/dev/null || true
		done
}

# Ends all processes in the engine's mount namespace, and so the namespace.
end_namespaces() {
	local holder process
	holder=$(process_of holder) || return 0
	for process in /proc/[0-9]*; do
		if [[ "$process" != "/proc/$holder" && "$process/ns/mnt" -ef "/proc/$holder/ns/mnt" ]]; then
			kill -KILL "${process#/proc/}" 2>/dev/null || true
		fi
	done
	kill -KILL "$holder" 2>/dev/null || true
}

# Makes a folder with only busybox and the files that it serves.
make_rootfs() {
	local rootfs=$DIR/rootfs name
	rm -rf "$rootfs"
	mkdir -p "$rootfs/bin" "$rootfs/tmp" "$rootfs/www/cgi-bin"
	cp /bin/busybox "$rootfs/bin/busybox"
	for name in sh cat env httpd mkdir nc nslookup sleep touch; do ln -s busybox "$rootfs/bin/$name"; done
	printf 'a page of kaisar-web\n' >"$rootfs/www/index.html"
	cat >"$rootfs/www/cgi-bin/self" <<-'CGI'
		#!/bin/sh
		printf 'Content-Type: text/plain\r\n\r\n'
		cat /proc/self/status
	CGI
	cat >"$rootfs/www/cgi-bin/exit" <<-'CGI'
		#!/bin/sh
		printf 'Content-Type: text/plain\r\n\r\nbye\n'
		touch /tmp/exit
	CGI
	cat >"$rootfs/bin/until-exit" <<-'SH'
		#!/bin/sh
		# Serves on the given port, and ends with code 3 on request.
		httpd -p "$1" -h /www
		while [ ! -e /tmp/exit ]; do sleep 0.1; done
		exit 3
	SH
	cat >"$rootfs/bin/moody" <<-'SH'
		#!/bin/sh
		# Serves on the given port, except at its second start.
		echo start >>/tmp/starts
		while read -r _; do starts=$((${starts:-0} + 1)); done </tmp/starts
		if [ "$starts" -eq 2 ]; then exec sleep 100000; fi
		exec httpd -f -p "$1" -h /www
	SH
	cat >"$rootfs/bin/tell" <<-'SH'
		#!/bin/sh
		# Serves its arguments, one a line, and its environment on each port of $PORTS.
		for port in $PORTS; do
			mkdir -p "/tmp/www/$port"
			cd "/tmp/www/$port"
			printf 'port %s\n' "$port" >index.html
			printf '%s\n' "$@" >arguments
			env >environment
			httpd -p "$port" -h .
		done
		exec sleep 100000
	SH
	chmod -R a+rx "$rootfs"
}

# Makes an image of the folder: `import NAME COMMAND [PORT [CHANGE …]]`, with the command in JSON.
import() {
	local changes=("CMD $2")
	if [[ -n "${3:-}" ]]; then changes+=("EXPOSE $3"); fi
	tar -C "$DIR/rootfs" -c . | engine_import "localhost/$1:1" "${changes[@]}" "${@:4}"
}

make_images() {
	local port=$1
	make_rootfs
	import kaisar-web "[\"/bin/httpd\", \"-f\", \"-p\", \"$port\", \"-h\", \"/www\"]" "$port"
	import kaisar-exit "[\"/bin/until-exit\", \"$port\"]" "$port"
	import kaisar-moody "[\"/bin/moody\", \"$port\"]" "$port"
	import kaisar-end '["/bin/sh", "-c", "exit 3"]' "$port"
	import kaisar-broken '["/bin/no-such-command"]' "$port"
	import kaisar-deaf '["/bin/sleep", "100000"]' "$port"
	import kaisar-portless '["/bin/sleep", "100000"]'
	import kaisar-tell '["own", "arguments"]' "$port" 'ENTRYPOINT ["/bin/tell"]' "ENV PORTS=$port" 'ENV GREETING=image' \
		'ENV NVIDIA_MOFED=enabled'
	rm -rf "$DIR/rootfs"
}

# shellcheck source=scripts/engine-templates.sh
source "$SCRIPTS/engine-templates.sh"

start() {
	[[ $EUID -eq 0 ]] || die "root is needed: run this as root"
	local need
	for need in "${NEEDS[@]}" /bin/busybox; do
		command -v "$need" >/dev/null || die "$need is not installed: run scripts/setup.sh"
	done
	if ! process_of service >/dev/null; then
		printf '%s\n' "$ENGINE" >"$DIR/engine"
		printf '%s\n' "$NAMESPACE" >"$DIR/namespace-kind"
		engine_prepare
		rm -f "$DIR/engine.sock"
		engine_serve
	fi
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		if curl --silent --fail --max-time 5 --unix-socket "$DIR/engine.sock" http://engine/_ping >/dev/null 2>&1; then
			printf '%s\n' "$DIR/engine.sock"
			return
		fi
		# The process may not have become the service yet.
		kill -0 "$(cat "$DIR/service.pid")" 2>/dev/null || break
		sleep 0.1
	done
	cat "$DIR/engine.log" >&2
	die "the engine in $DIR does not answer; its log is above"
}

# Sends the given signal to the service, and waits up to 30 s for its end.
end_service() {
	local pid tries
	for ((tries = 0; tries < 600; tries++)); do
		pid=$(process_of service) || break
		if ((tries == 0)); then kill "-$1" "$pid" 2>/dev/null || true; fi
		sleep 0.05
	done
	if pid=$(process_of service); then die "the service of the engine in $DIR, process $pid, has not ended within 30 s"; fi
	rm -f "$DIR/engine.sock"
}

stop() {
	[[ -e "$DIR/engine" ]] || return 0
	engine_stop
	end_namespaces
	umount --lazy "$DIR/root/"* 2>/dev/null || true
	ip link delete "$MARK" 2>/dev/null || true
	release_subnet
	rm -rf "$DIR"
}

[[ $# -ge 2 ]] || {
	usage
	exit 2
}
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd -P)
shift 2
# Name of the engine's bridge and control groups.
MARK="kd-$(printf '%s' "$DIR" | sha256sum | cut -c 1-8)"
# The settings of the first start stay.
ENGINE=$(cat "$DIR/engine" 2>/dev/null || printf '%s' "${KAISAR_ENGINE:-podman}")
NAMESPACE=$(cat "$DIR/namespace-kind" 2>/dev/null || printf '%s' "${KAISAR_ENGINE_NAMESPACE:-machine}")
[[ "$NAMESPACE" == machine || "$NAMESPACE" == own ]] || die "KAISAR_ENGINE_NAMESPACE is $NAMESPACE; expected machine or own"
# Address of the registry for pulls; empty if nothing is pulled.
REGISTRY=''
case "$ENGINE" in
	podman)
		# shellcheck source=scripts/engine-podman.sh
		source "$SCRIPTS/engine-podman.sh"
		;;
	docker)
		# shellcheck source=scripts/engine-docker.sh
		source "$SCRIPTS/engine-docker.sh"
		;;
	*) die "KAISAR_ENGINE is $ENGINE; expected podman or docker" ;;
esac
case "$COMMAND" in
	start)
		REGISTRY=${1:-}
		start
		;;
	images) make_images "${1:-8080}" ;;
	stand-in) make_stand_in "$@" ;;
	client) engine_client "$@" ;;
	podman)
		[[ "$ENGINE" == podman ]] || die "the engine in $DIR is $ENGINE; use: scripts/engine.sh client"
		engine_client "$@"
		;;
	halt) engine_halt ;;
	stop) stop ;;
	*)
		usage
		exit 2
		;;
esac
