#!/usr/bin/env bash
# A container engine of its own for each test: Podman with its own storage, settings and socket, and
# images made here. Several may run at a time; nothing of the machine's own engine is touched.
set -euo pipefail

usage() {
	cat <<-HELP
		usage: scripts/engine.sh start DIR [HOST:PORT]   start an engine that lives in DIR
		       scripts/engine.sh images DIR [PORT]       make the images of the tests
		       scripts/engine.sh podman DIR ARGUMENT …   run podman with that engine's storage
		       scripts/engine.sh halt DIR                end the service; containers go on
		       scripts/engine.sh stop DIR                end the engine with all that it started

		start    prints the path of the socket, which speaks the Docker API, as one line. DIR/network holds
		         the network that containers can be in: bridge, or host where no network can be made.
		         Pulls from registry.kaisar.test go to HOST:PORT over plain HTTP, if it is given. An engine
		         that was halted starts again with its containers.
		images   localhost/kaisar-web:1      serves a page on PORT (8080), and what a container is like
		                                     under /cgi-bin/self
		         localhost/kaisar-exit:1     the same; asked for /cgi-bin/exit, it ends with code 3
		         localhost/kaisar-end:1      ends with code 3 at once
		         localhost/kaisar-broken:1   has a command that does not exist
		         localhost/kaisar-deaf:1     runs, and never listens on its port
		         localhost/kaisar-portless:1 runs, and exposes no port

		Needs root, and the packages podman, runc and busybox-static.

		environment:
		  KAISAR_ENGINE_NETWORK   bridge or host; by default what can be had here
	HELP
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# Podman as the engine in DIR sees it.
private_podman() {
	CONTAINERS_CONF="$DIR/containers.conf" CONTAINERS_STORAGE_CONF="$DIR/storage.conf" \
		CONTAINERS_REGISTRIES_CONF="$DIR/registries.conf" podman "$@"
}

# The service's process id, if it runs.
service_pid() {
	local pid
	pid=$(cat "$DIR/service.pid" 2>/dev/null) || return 1
	# The id may be another's by now.
	tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$DIR/engine.sock" || return 1
	printf '%s' "$pid"
}

write_settings() {
	mkdir -p "$DIR/root" "$DIR/runroot" "$DIR/tmp"
	cat >"$DIR/containers.conf" <<-CONF
		[containers]
		default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
		netns = "host"
		cgroups = "no-conmon"
		[engine]
		runtime = "runc"
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		lock_type = "file"
		tmp_dir = "$DIR/tmp"
		static_dir = "$DIR/root/libpod"
		volume_path = "$DIR/root/volumes"
		image_default_transport = "docker://"
	CONF
	cat >"$DIR/storage.conf" <<-CONF
		[storage]
		driver = "vfs"
		runroot = "$DIR/runroot"
		graphroot = "$DIR/root"
	CONF
	: >"$DIR/registries.conf"
	if [[ -n "$REGISTRY" ]]; then
		cat >"$DIR/registries.conf" <<-CONF
			[[registry]]
			prefix = "registry.kaisar.test"
			location = "$REGISTRY"
			insecure = true
		CONF
	fi
}

# A folder with busybox alone, and what it is asked to serve.
make_rootfs() {
	local rootfs=$DIR/rootfs name
	rm -rf "$rootfs"
	mkdir -p "$rootfs/bin" "$rootfs/tmp" "$rootfs/www/cgi-bin"
	cp /bin/busybox "$rootfs/bin/busybox"
	for name in sh cat httpd sleep touch; do ln -s busybox "$rootfs/bin/$name"; done
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
		# Serves on the port given, and ends with code 3 once it was asked to.
		httpd -p "$1" -h /www
		while [ ! -e /tmp/exit ]; do sleep 0.1; done
		exit 3
	SH
	chmod -R a+rx "$rootfs"
}

# `import NAME COMMAND [PORT]`; the command in JSON.
import() {
	local changes=(--change "CMD $2")
	if [[ -n "${3:-}" ]]; then changes+=(--change "EXPOSE $3"); fi
	tar -C "$DIR/rootfs" -c . | private_podman import --quiet "${changes[@]}" - "localhost/$1:1" >/dev/null
}

make_images() {
	local port=$1
	make_rootfs
	import kaisar-web "[\"/bin/httpd\", \"-f\", \"-p\", \"$port\", \"-h\", \"/www\"]" "$port"
	import kaisar-exit "[\"/bin/until-exit\", \"$port\"]" "$port"
	import kaisar-end '["/bin/sh", "-c", "exit 3"]' "$port"
	import kaisar-broken '["/bin/no-such-command"]' "$port"
	import kaisar-deaf '["/bin/sleep", "100000"]' "$port"
	import kaisar-portless '["/bin/sleep", "100000"]'
	rm -rf "$DIR/rootfs"
}

# Whether containers can have a network of their own here. It takes a bridge, which not every machine of
# the tests can make.
find_network() {
	local id network=host
	if [[ -n "${KAISAR_ENGINE_NETWORK:-}" ]]; then
		printf '%s\n' "$KAISAR_ENGINE_NETWORK" >"$DIR/network"
		return
	fi
	mkdir -p "$DIR/probe/bin"
	cp /bin/busybox "$DIR/probe/bin/true"
	tar -C "$DIR/probe" -c . | private_podman import --quiet --change 'CMD ["/bin/true"]' - localhost/probe:1 >/dev/null
	if id=$(private_podman create --network bridge --publish 127.0.0.1::80 localhost/probe:1 2>>"$DIR/engine.log"); then
		if private_podman start "$id" >>"$DIR/engine.log" 2>&1; then network=bridge; fi
		private_podman rm --force --time 0 "$id" >>"$DIR/engine.log" 2>&1 || true
	fi
	private_podman rmi --force localhost/probe:1 >>"$DIR/engine.log" 2>&1 || true
	rm -rf "$DIR/probe"
	printf '%s\n' "$network" >"$DIR/network"
}

start() {
	[[ $EUID -eq 0 ]] || die "root is needed"
	local need
	for need in podman runc /bin/busybox; do
		command -v "$need" >/dev/null || die "$need is missing: scripts/setup.sh installs it"
	done
	if ! service_pid >/dev/null; then
		[[ -e "$DIR/containers.conf" ]] || write_settings
		[[ -e "$DIR/network" ]] || find_network
		rm -f "$DIR/engine.sock"
		CONTAINERS_CONF="$DIR/containers.conf" CONTAINERS_STORAGE_CONF="$DIR/storage.conf" \
			CONTAINERS_REGISTRIES_CONF="$DIR/registries.conf" \
			setsid podman system service --time=0 "unix://$DIR/engine.sock" \
			</dev/null >>"$DIR/engine.log" 2>&1 &
		printf '%s\n' "$!" >"$DIR/service.pid"
	fi
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		if curl --silent --fail --max-time 5 --unix-socket "$DIR/engine.sock" http://engine/_ping >/dev/null 2>&1; then
			printf '%s\n' "$DIR/engine.sock"
			return
		fi
		service_pid >/dev/null || break
		sleep 0.1
	done
	cat "$DIR/engine.log" >&2
	die "the engine in $DIR does not answer"
}

# Ends the service and waits until it is gone.
halt() {
	local pid
	while pid=$(service_pid); do
		kill -KILL "$pid" 2>/dev/null || true
		sleep 0.05
	done
	rm -f "$DIR/engine.sock"
}

stop() {
	[[ -e "$DIR/containers.conf" ]] || return 0
	halt
	private_podman rm --all --force --time 0 >>"$DIR/engine.log" 2>&1 || true
	# Whoever still watches over a container of this engine's names its folder.
	local pid
	for pid in $(pgrep -f -- "^[^ ]*conmon .*$DIR/" || true); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	umount --lazy "$DIR/root/"* 2>/dev/null || true
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
REGISTRY=''
case "$COMMAND" in
	start)
		REGISTRY=${1:-}
		start
		;;
	images) make_images "${1:-8080}" ;;
	podman) private_podman "$@" ;;
	halt) halt ;;
	stop) stop ;;
	*)
		usage
		exit 2
		;;
esac
