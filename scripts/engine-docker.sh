#!/usr/bin/env bash
# Docker's daemon as an engine. engine.sh sources this file, and sets DIR, NAMESPACE, REGISTRY and MARK.
# shellcheck disable=SC2034 # NEEDS is read by engine.sh

NEEDS=(dockerd containerd runc iptables)

engine_client() { docker --host "unix://$DIR/engine.sock" "$@"; }

# Creates a bridge for the engine on the machine. Fails if the machine does not support bridges.
make_bridge() {
	ip link add "$MARK" type bridge 2>>"$DIR/engine.log" || return 1
	reserve_subnet
	ip address add "$SUBNET.1/24" dev "$MARK"
	ip link set "$MARK" up
	# Each daemon publishes on the first free port of the kernel's range, and so sometimes on one that a
	# container of another daemon has just released. This daemon sees a range of its own.
	printf '%s\n' "$PORTS" >"$DIR/ports"
	within mount --bind "$DIR/ports" /proc/sys/net/ipv4/ip_local_port_range
}

write_settings() {
	local firewall=false bridge=none network=host
	if [[ "$NAMESPACE" == own ]]; then
		firewall=true bridge='' network=bridge
	elif [[ "${KAISAR_ENGINE_NETWORK:-bridge}" == bridge ]] && make_bridge; then
		bridge=$MARK network=bridge
	fi
	mkdir -p "$DIR/root" "$DIR/exec"
	# On the machine itself it does not change the firewall: a second daemon would replace the rules of the
	# first.
	cat >"$DIR/daemon.json" <<-JSON
		{
			"hosts": ["unix://$DIR/engine.sock"],
			"data-root": "$DIR/root",
			"exec-root": "$DIR/exec",
			"pidfile": "$DIR/docker.pid",
			"log-level": "warn",
			"live-restore": true,
			"cgroup-parent": "/$MARK",
			"exec-opts": ["native.cgroupdriver=cgroupfs"],
			"bridge": "$bridge",
			"iptables": $firewall,
			"ip-forward": $firewall,
			"insecure-registries": ["registry.kaisar.test"]
		}
	JSON
	printf '%s\n' "$REGISTRY" >"$DIR/registry"
	printf '%s\n' "${KAISAR_ENGINE_NETWORK:-$network}" >"$DIR/network"
}

# Percent-encodes a text for a query.
encode() {
	local at letter
	for ((at = 0; at < ${#1}; at++)); do
		letter=${1:at:1}
		case "$letter" in
			[a-zA-Z0-9._~-]) printf '%s' "$letter" ;;
			*) printf '%%%02X' "'$letter" ;;
		esac
	done
}

# Makes an image of the archive on standard input: `engine_import NAME CHANGE …`.
engine_import() {
	local query change
	query="fromSrc=-&repo=$(encode "${1%:*}")&tag=${1##*:}"
	shift
	for change in "$@"; do query+="&changes=$(encode "$change")"; done
	curl --silent --show-error --fail-with-body --unix-socket "$DIR/engine.sock" --header 'Content-Type: application/x-tar' \
		--data-binary @- "http://engine/images/create?$query" >>"$DIR/engine.log"
}

engine_prepare() {
	make_namespaces
	[[ -e "$DIR/daemon.json" ]] || write_settings
}

engine_serve() {
	local proxy
	proxy=$(cat "$DIR/registry")
	# A killed daemon does not remove this file.
	rm -f "$DIR/docker.pid"
	find_namespaces
	# The registry is the daemon's proxy, so that it gets all pulls, whatever the name of the registry.
	setsid "${WITHIN[@]}" env ${proxy:+HTTP_PROXY="http://$proxy" HTTPS_PROXY="http://$proxy"} \
		dockerd --config-file "$DIR/daemon.json" </dev/null >>"$DIR/engine.log" 2>&1 &
	printf '%s\n' "$!" >"$DIR/service.pid"
}

# Ends the daemon. Its containers keep running (live-restore), but their ports on the loopback address close,
# since those are processes of the daemon.
engine_halt() { end_service TERM; }

# Prints the bridges that the daemon created for further networks, from its records.
bridges() {
	grep -aoE 'br-[0-9a-f]{12}' "$DIR/root/network/files/local-kv.db" 2>/dev/null | sort -u || true
}

engine_stop() {
	local pid bridge tries
	end_service KILL
	# First the daemon's own processes, so that nothing starts again; then those of its containers.
	end_namespaces
	for ((tries = 0; tries < 100; tries++)); do
		while read -r pid; do
			kill -KILL "$pid" 2>/dev/null || true
		done < <(find /sys/fs/cgroup -path "*/$MARK/*" -name cgroup.procs -exec cat {} + 2>/dev/null)
		find /sys/fs/cgroup -depth -type d \( -path "*/$MARK/*" -o -name "$MARK" \) -exec rmdir {} + 2>/dev/null || true
		[[ -n "$(find /sys/fs/cgroup -type d -name "$MARK" 2>/dev/null)" ]] || break
		sleep 0.05
	done
	if [[ "$NAMESPACE" == machine ]]; then
		for bridge in $(bridges); do ip link delete "$bridge" 2>/dev/null || true; done
	fi
}
