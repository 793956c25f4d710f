#!/usr/bin/env bash
# Podman as an engine. engine.sh sources this file, and sets DIR, NAMESPACE, REGISTRY and MARK.
# shellcheck disable=SC2034 # NEEDS is read by engine.sh

NEEDS=(podman runc)

# Podman with the settings of the engine in DIR.
PODMAN=(env CONTAINERS_CONF="$DIR/containers.conf" CONTAINERS_STORAGE_CONF="$DIR/storage.conf"
	CONTAINERS_REGISTRIES_CONF="$DIR/registries.conf" podman)

engine_client() { within "${PODMAN[@]}" "$@"; }

# Succeeds if netavark is installed. With it, an engine shares no networks with others.
has_netavark() { compgen -G '/usr/lib*/podman/netavark' >/dev/null; }

# Writes the default network, with the engine's own bridge and addresses. The names of firewall chains are
# derived from its name: engines that use one name would remove each other's chains.
write_network() {
	local id
	reserve_subnet
	id=$(printf '%s' "$DIR" | sha256sum | cut -c 1-64)
	cat >"$DIR/networks/$MARK.json" <<-JSON
		{
			"name": "$MARK",
			"id": "$id",
			"driver": "bridge",
			"network_interface": "$MARK",
			"subnets": [{ "subnet": "$SUBNET.0/24", "gateway": "$SUBNET.1" }],
			"ipv6_enabled": false,
			"internal": false,
			"dns_enabled": false,
			"ipam_options": { "driver": "host-local" }
		}
	JSON
}

write_settings() {
	local network=''
	mkdir -p "$DIR/root" "$DIR/runroot" "$DIR/tmp" "$DIR/networks"
	if has_netavark; then
		network="network_backend = \"netavark\"
		network_config_dir = \"$DIR/networks\"
		default_network = \"$MARK\""
		if [[ "$NAMESPACE" == machine ]]; then write_network; fi
	fi
	cat >"$DIR/containers.conf" <<-CONF
		[containers]
		default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
		netns = "host"
		cgroups = "no-conmon"
		[network]
		$network
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

# Makes an image of the archive on standard input: `engine_import NAME CHANGE …`.
engine_import() {
	local name=$1 changes=() change
	shift
	for change in "$@"; do changes+=(--change "$change"); done
	engine_client import --quiet "${changes[@]}" - "$name" >/dev/null
}

# Finds out whether containers can have their own network here. That needs a bridge, which not every test
# machine supports.
find_network() {
	local id port network=host
	if [[ -n "${KAISAR_ENGINE_NETWORK:-}" ]]; then
		printf '%s\n' "$KAISAR_ENGINE_NETWORK" >"$DIR/network"
		return
	fi
	mkdir -p "$DIR/probe/bin"
	cp /bin/busybox "$DIR/probe/bin/true"
	tar -C "$DIR/probe" -c . | engine_import localhost/probe:1 'CMD ["/bin/true"]'
	# The port is one that the system does not assign, as those of containers
	# (agent/src/containers/limits.rs), so a leftover rule takes no port from anybody.
	port=$((20000 + RANDOM % 10000))
	if id=$(engine_client create --network bridge --publish "127.0.0.1:$port:80" localhost/probe:1 2>>"$DIR/engine.log"); then
		if engine_client start "$id" >>"$DIR/engine.log" 2>&1; then network=bridge; fi
		engine_client rm --force --time 0 "$id" >>"$DIR/engine.log" 2>&1 || true
	fi
	engine_client rmi --force localhost/probe:1 >>"$DIR/engine.log" 2>&1 || true
	rm -rf "$DIR/probe"
	printf '%s\n' "$network" >"$DIR/network"
}

engine_prepare() {
	# Without netavark, networks are those of CNI, which all engines of the machine share.
	if has_netavark; then
		mkdir -p /run/containers /run/netns
		make_namespaces
	elif [[ "$NAMESPACE" == own ]]; then
		die "netavark is not installed: run scripts/setup.sh"
	fi
	[[ -e "$DIR/containers.conf" ]] || write_settings
	[[ -e "$DIR/network" ]] || find_network
}

engine_serve() {
	find_namespaces
	setsid "${WITHIN[@]}" "${PODMAN[@]}" system service --time=0 "unix://$DIR/engine.sock" \
		</dev/null >>"$DIR/engine.log" 2>&1 &
	printf '%s\n' "$!" >"$DIR/service.pid"
}

engine_halt() { end_service KILL; }

engine_stop() {
	engine_halt
	engine_client rm --all --force --time 0 >>"$DIR/engine.log" 2>&1 || true
	# The command lines of this engine's container monitors contain its folder.
	local pid
	for pid in $(pgrep -f -- "^[^ ]*conmon .*$DIR/" || true); do
		kill -KILL "$pid" 2>/dev/null || true
	done
}
