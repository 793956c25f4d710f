#!/usr/bin/env bash
# Sets up what the build and the tests need, on Debian or Ubuntu: packages, the Rust toolchain, Node.js
# and the npm packages of e2e/. What is there already is left alone.
#
# Run it alone, or source it: `dev.sh` and `test.sh` do, for its functions and for the environment.
set -Eeuo pipefail

KAISAR_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
KAISAR_CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kaisar"
# Outside the checkout, so that a fresh clone finds what an earlier one built.
export CARGO_TARGET_DIR="${KAISAR_TARGET_DIR:-$KAISAR_CACHE/target}"
export CARGO_TERM_PROGRESS_WHEN="${CARGO_TERM_PROGRESS_WHEN:-auto}"
# Where the Vulkan driver is that the tensor kernels are tested on.
export KAISAR_MESA="${KAISAR_MESA:-$KAISAR_CACHE/mesa-26.1}"
# Node.js for systems whose own is too old. The browser of the tests is driven by a library that needs 20.
KAISAR_NODEJS="20.20.2"
KAISAR_NODEJS_MIN="20.0"
# What only the tests need, for `setup_all`.
TEST_PACKAGES=(
	shellcheck:shellcheck
	pip3:python3-pip
	'/usr/*bin/dockerd:docker.io' '/usr/*bin/iptables:iptables'
	'/usr/lib*/podman/netavark:netavark' '/usr/lib*/podman/aardvark-dns:aardvark-dns'
	'/usr/lib/postgresql/*/bin/initdb:postgresql' psql:postgresql-client
	"${KAISAR_CHROMIUM:-chromium}:chromium" "${KAISAR_CHROMEDRIVER:-chromedriver}:chromium-driver"
)

# --- saying what happens ------------------------------------------------------------------------

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
	C_BOLD=$'\e[1m' C_DIM=$'\e[2m' C_RED=$'\e[31m' C_GREEN=$'\e[32m' C_END=$'\e[0m'
else
	C_BOLD='' C_DIM='' C_RED='' C_GREEN='' C_END=''
fi

ADVICE=''      # what to do if the command that runs now fails
STEP=''        # the step that runs now
HEARTBEAT=''   # process that says that a step still runs
SUMMARY=()     # one line for each step

# Seconds as "1 h 02 min 03 s", "2 min 03 s" or "3 s".
elapsed() {
	local s=$1
	if ((s >= 3600)); then
		printf '%d h %02d min %02d s' $((s / 3600)) $((s % 3600 / 60)) $((s % 60))
	elif ((s >= 60)); then
		printf '%d min %02d s' $((s / 60)) $((s % 60))
	else
		printf '%d s' "$s"
	fi
}

say() { printf '%s==>%s %s%s%s\n' "$C_GREEN" "$C_END" "$C_BOLD" "$*" "$C_END"; }
note() { printf '    %s\n' "$*"; }

# Ends the script: `die MESSAGE [ADVICE]`.
die() {
	stop_heartbeat
	printf '\n%serror:%s %s\n' "$C_RED" "$C_END" "$1" >&2
	if [[ -n "${2:-}" ]]; then printf 'advice: %s\n' "$2" >&2; fi
	trap - ERR
	exit 1
}

stop_heartbeat() {
	if [[ -n "$HEARTBEAT" ]]; then
		kill "$HEARTBEAT" 2>/dev/null || true
		wait "$HEARTBEAT" 2>/dev/null || true
		HEARTBEAT=''
	fi
}

# Says every minute that a step still runs.
start_heartbeat() {
	local name=$1 began=$SECONDS
	(
		trap - ERR EXIT
		# The sleep must not outlive the script, nor hold its output open.
		trap 'kill %1 2>/dev/null; exit 0' TERM INT
		while true; do
			sleep 60 >/dev/null 2>&1 &
			wait $! || exit 0
			printf '    %s… %s: %s so far%s\n' "$C_DIM" "$name" "$(elapsed $((SECONDS - began)))" "$C_END"
		done
	) &
	HEARTBEAT=$!
}

# Runs a command as a named step: `step NAME ADVICE COMMAND…`.
step() {
	local name=$1 began=$SECONDS
	STEP=$name ADVICE=$2
	shift 2
	say "$name"
	start_heartbeat "$name"
	"$@"
	stop_heartbeat
	SUMMARY+=("$(printf '%-36s %s' "$name" "$(elapsed $((SECONDS - began)))")")
	note "done in $(elapsed $((SECONDS - began)))"
	STEP='' ADVICE=''
}

on_error() {
	local code=$1 line=$2
	trap - ERR
	# A subshell leaves the message to the script itself.
	if ((BASH_SUBSHELL)); then exit "$code"; fi
	stop_heartbeat
	printf '\n%serror:%s %s failed (exit code %s, %s line %s)\n' \
		"$C_RED" "$C_END" "${STEP:-the set-up}" "$code" "${0##*/}" "$line" >&2
	if [[ -n "$ADVICE" ]]; then printf 'advice: %s\n' "$ADVICE" >&2; fi
	exit "$code"
}
trap 'on_error $? $LINENO' ERR
trap stop_heartbeat EXIT

# --- the machine --------------------------------------------------------------------------------

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		# What the packages are fetched through.
		sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY "$@"
	else
		die "root is needed to install packages, and there is no sudo" \
			"run this once as root: $*"
	fi
}

check_machine() {
	[[ "$(uname -s)" == Linux ]] || die "this runs on Linux (Debian or Ubuntu)" "use a container or a virtual machine with Debian"
	local memory_mb disk_mb
	memory_mb=$(awk '/MemTotal|SwapTotal/ { sum += $2 } END { print int(sum / 1024) }' /proc/meminfo)
	mkdir -p "$CARGO_TARGET_DIR"
	disk_mb=$(df -Pm "$CARGO_TARGET_DIR" | awk 'NR == 2 { print $4 }')
	note "$(nproc) cores, $((memory_mb / 1024)) GiB of memory and swap, $((disk_mb / 1024)) GiB free in $CARGO_TARGET_DIR"
	if ((memory_mb < 6000)); then note "warning: less than 6 GiB of memory and swap; the build may be killed. CARGO_BUILD_JOBS=1 helps."; fi
	if ((disk_mb < 4000)); then
		die "less than 4 GiB free in $CARGO_TARGET_DIR" "make room (a full build takes about 15 GiB), or set KAISAR_TARGET_DIR to a folder on another disk"
	elif ((disk_mb < 15000)) && [[ ! -d "$CARGO_TARGET_DIR/debug" ]]; then
		note "warning: a full build takes about 15 GiB"
	fi
}

has_libclang() {
	compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
		compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || [[ -n "${LIBCLANG_PATH:-}" ]]
}

# Whether Node.js is there and new enough, npm included.
has_nodejs() {
	command -v node >/dev/null && command -v npm >/dev/null || return 1
	local have
	have=$(node --version 2>/dev/null) || return 1
	[[ "$(printf '%s\n' "$KAISAR_NODEJS_MIN" "${have#v}" | sort -V | head -n 1)" == "$KAISAR_NODEJS_MIN" ]]
}

# Whether a command is there, or a file whose path fits a pattern.
has() {
	if [[ "$1" == /* ]]; then compgen -G "$1" >/dev/null; else command -v "$1" >/dev/null; fi
}

# The packages that are missing, on one line. Arguments: what else is wanted, as `command:package` or
# `path:package`.
missing_packages() {
	local missing=() pair
	for pair in protoc:protobuf-compiler clang:clang cmake:cmake pkg-config:pkg-config make:make \
		g++:g++ perl:perl tc:iproute2 curl:curl pgrep:procps podman:podman runc:runc "$@"; do
		has "${pair%%:*}" || missing+=("${pair#*:}")
	done
	has_libclang || missing+=(libclang-dev)
	# The images of the tests have nothing but this, so it must need no library (scripts/engine.sh).
	if [[ ! -x /bin/busybox ]] || ldd /bin/busybox >/dev/null 2>&1; then missing+=(busybox-static); fi
	[[ -e /usr/include/openssl/ssl.h ]] || missing+=(libssl-dev)
	[[ -s /etc/ssl/certs/ca-certificates.crt ]] || missing+=(ca-certificates)
	# Vulkan, and a driver that needs no GPU: the benchmark's kernels are tested on it.
	compgen -G '/usr/lib*/*/libvulkan.so.1' >/dev/null || compgen -G '/usr/lib*/libvulkan.so.1' >/dev/null ||
		missing+=(libvulkan1)
	compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || missing+=(mesa-vulkan-drivers)
	if ! has_nodejs; then
		command -v node >/dev/null || missing+=(nodejs)
		command -v npm >/dev/null || missing+=(npm)
	fi
	printf '%s' "${missing[*]-}"
}

install_packages() {
	local missing
	missing=$(missing_packages "$@")
	if [[ -z "$missing" ]]; then
		note "all packages are there"
		return
	fi
	command -v apt-get >/dev/null ||
		die "these packages are missing, and there is no apt-get to install them: $missing" \
			"install what your distribution calls them, and run this again"
	note "missing: $missing"
	ADVICE="check the network and the package sources, then run: apt-get update && apt-get install $missing"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 update
	# shellcheck disable=SC2086 # one word a package
	without_services $missing
}

# Installs packages without what Debian starts with them: Docker's daemon, and a database cluster for the machine.
# The tests start their own. Nothing that is installed already is stopped or changed.
without_services() {
	local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/kaisar.conf ours=()
	(
		trap 'as_root rm -f "${ours[@]}"' EXIT
		if [[ " $* " == *' postgresql '* ]]; then
			ours+=("$cluster")
			as_root mkdir -p "${cluster%/*}"
			printf 'create_main_cluster = false\n' | as_root tee "$cluster" >/dev/null
		fi
		if [[ ! -e "$policy" ]]; then
			ours+=("$policy")
			as_root tee "$policy" >/dev/null <<-'POLICY'
				#!/bin/sh
				# Put here by Kaisar's scripts/setup.sh while it installs packages; safe to remove.
				case "$1" in
					docker | docker.* | containerd | containerd.* | postgresql*) exit 101 ;;
				esac
				exit 0
			POLICY
			as_root chmod 755 "$policy"
		fi
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
			install --no-install-recommends "$@"
	)
	if [[ " $* " == *' docker.io '* && -d /run/systemd/system ]]; then
		as_root systemctl disable --quiet docker.service docker.socket containerd.service
		note "Docker's service is not started, nor at boot; to have it: systemctl enable --now docker"
	fi
}

# The Node.js that `install_nodejs` fetched, if the system's own will not do.
use_cached_nodejs() {
	local bin
	has_nodejs && return
	for bin in "$KAISAR_CACHE/nodejs-$KAISAR_NODEJS"/node_modules/*/bin; do
		if [[ -x "$bin/node" ]]; then export PATH="$bin:$PATH"; fi
	done
}

# Debian 12 and Ubuntu 24.04 have Node.js 18. The binary of a newer one comes from npm, into the cache folder.
install_nodejs() {
	local cached="$KAISAR_CACHE/nodejs-$KAISAR_NODEJS" arch package
	if ! has_nodejs; then
		case "$(uname -m)" in
			x86_64) arch=x64 ;;
			aarch64) arch=arm64 ;;
			*) die "there is no ready-made Node.js for $(uname -m)" "install Node.js $KAISAR_NODEJS_MIN or newer and npm, and run this again" ;;
		esac
		package="node-linux-$arch"
		if [[ ! -x "$cached/node_modules/$package/bin/node" ]]; then
			command -v npm >/dev/null || die "npm is missing" "apt-get install npm"
			note "Node.js $(node --version 2>/dev/null || echo 'is absent'); fetching $KAISAR_NODEJS into $cached"
			ADVICE="check that the npm registry can be reached, or install Node.js $KAISAR_NODEJS_MIN or newer yourself (https://nodejs.org)"
			mkdir -p "$cached"
			npm install --prefix "$cached" --no-save --no-audit --no-fund --ignore-scripts "$package@$KAISAR_NODEJS"
		fi
		export PATH="$cached/node_modules/$package/bin:$PATH"
		hash -r
		has_nodejs || die "Node.js $KAISAR_NODEJS_MIN or newer is needed" "install it (https://nodejs.org), and run this again"
	fi
	note "Node.js $(node --version), npm $(npm --version 2>/dev/null)"
}

install_rust() {
	local channel installed
	export PATH="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH"
	command -v rustup >/dev/null ||
		die "rustup is missing" "install it (https://rustup.rs): curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
	channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$KAISAR_ROOT/rust-toolchain.toml")
	# Asked for by name, since automatic installs may be off (RUSTUP_AUTO_INSTALL=0).
	installed=$(rustup toolchain list)
	if ! grep -q "^$channel" <<<"$installed"; then
		ADVICE="check that static.rust-lang.org can be reached, then run: rustup toolchain install $channel"
		note "installing Rust $channel"
		rustup toolchain install "$channel" --profile minimal --no-self-update
	fi
	installed=$(rustup component list --toolchain "$channel" --installed)
	for component in rustfmt clippy; do
		if ! grep -q "^$component" <<<"$installed"; then
			ADVICE="run: rustup component add --toolchain $channel $component"
			rustup component add --toolchain "$channel" "$component"
		fi
	done
	if ! rustup target list --toolchain "$channel" --installed | grep -qx wasm32v1-none; then
		ADVICE="the runtime is built for wasm32v1-none; run: rustup target add --toolchain $channel wasm32v1-none"
		rustup target add --toolchain "$channel" wasm32v1-none
	fi
	note "$(cd "$KAISAR_ROOT" && rustc --version), wasm32v1-none"
}

# A software Vulkan with matrix units, in the cache folder: Debian 12 and Ubuntu 24.04 have none. Only the unit
# tests need it.
install_mesa() {
	if [[ -x "$KAISAR_MESA/run" ]]; then
		note "the Vulkan driver for the tensor kernels is there"
		return
	fi
	note "fetching a Vulkan driver for the tensor kernels into $KAISAR_MESA"
	if [[ ! -s /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
		ADVICE="run: apt-get update && apt-get install debian-archive-keyring"
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 update
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
			install --no-install-recommends debian-archive-keyring
	fi
	ADVICE="check the network, then run: scripts/mesa.sh $KAISAR_MESA"
	"$KAISAR_ROOT/scripts/mesa.sh" "$KAISAR_MESA"
}

install_npm() {
	local stamp="$KAISAR_ROOT/e2e/node_modules/.kaisar-lock" want
	want=$(sha256sum <"$KAISAR_ROOT/e2e/package-lock.json")
	if [[ -f "$stamp" && "$(cat "$stamp")" == "$want" ]]; then
		note "the npm packages are there"
		return
	fi
	ADVICE="check that the npm registry can be reached, then run: cd e2e && npm ci"
	# Nothing of what is fetched may run while it is installed.
	(cd "$KAISAR_ROOT/e2e" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
	printf '%s\n' "$want" >"$stamp"
}

# Everything. Arguments, if any: what else is wanted, as `command:package` or `path:package`.
# shellcheck disable=SC2120
setup_all() {
	step 'set-up: machine' '' check_machine
	step 'set-up: packages' '' install_packages "$@"
	step 'set-up: Rust' '' install_rust
	step 'set-up: Node.js' '' install_nodejs
	step 'set-up: npm packages' '' install_npm
}

# shellcheck disable=SC2034 # used by the scripts that source this one
BUILD_ADVICE='read the first error above. If a process was killed, there was too little memory: try CARGO_BUILD_JOBS=1. If a crate could not be fetched, check the network.'

# Builds everything that the checks and the demonstration need, in the one way in which everything is
# built: all targets of the workspace. With other flags or features cargo would build most of it once more.
build_all() {
	(cd "$KAISAR_ROOT" && cargo build --workspace --all-targets --locked)
}

use_cached_nodejs

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
	case "${1:-}" in
		'') ;;
		-h | --help)
			cat <<-HELP
				usage: scripts/setup.sh

				Installs what the build and the tests need: Debian packages, the Rust toolchain of
				rust-toolchain.toml with the target wasm32v1-none, Node.js and the npm packages of e2e/.
				What is there is left alone. Needs git, rustup, and root or sudo.

				The tests need Docker's daemon, PostgreSQL and Chromium (350 MB to fetch on a bare Debian 12). None of them is started:
				each test starts its own, and the machine's are left alone.

				A newer Mesa, to test the tensor kernels on, comes from a newer Debian into a folder of its own
				(scripts/mesa.sh).

				environment:
				  KAISAR_TARGET_DIR      where builds go (default: $KAISAR_CACHE/target)
				  KAISAR_MESA            where that Mesa is (default: $KAISAR_CACHE/mesa-26.1)
				  KAISAR_DEBIAN_MIRROR   where Debian's packages are, if not at deb.debian.org or where this machine has its own from
				  KAISAR_CHROMIUM        the browser of the tests, where Debian's is not to be had (Ubuntu's is a snap,
				                         which does not run as root), with KAISAR_CHROMEDRIVER, its driver
			HELP
			exit 0
			;;
		*) die "unknown argument: $1" "scripts/setup.sh --help" ;;
	esac
	setup_all "${TEST_PACKAGES[@]}"
	step 'set-up: Mesa' '' install_mesa
	say "ready; now: ./scripts/dev.sh or ./scripts/test.sh"
fi
