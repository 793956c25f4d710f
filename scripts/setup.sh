#!/usr/bin/env bash
# Installs the requirements of the build and the tests on Debian or Ubuntu: packages, the Rust toolchain,
# Node.js and the npm packages of e2e/. It changes nothing that is already installed.
#
# Run it alone, or source it for `setup_all`, as `dev.sh` and `test.sh` do.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Packages that only the tests need, for `setup_all`.
TEST_PACKAGES=(
	shellcheck:shellcheck
	pip3:python3-pip
	'/usr/*bin/dockerd:docker.io' '/usr/*bin/iptables:iptables' '/usr/*bin/nft:nftables'
	'/usr/lib*/podman/netavark:netavark' '/usr/lib*/podman/aardvark-dns:aardvark-dns'
	'/usr/lib/postgresql/*/bin/initdb:postgresql' psql:postgresql-client
	"${KAISAR_CHROMIUM:-chromium}:chromium" "${KAISAR_CHROMEDRIVER:-chromedriver}:chromium-driver"
)

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		# Packages are fetched through these proxies.
		sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY "$@"
	else
		die "installing packages needs root, and sudo is not installed" \
			"run this once as root: $*"
	fi
}

check_machine() {
	[[ "$(uname -s)" == Linux ]] || die "this script only runs on Linux (Debian or Ubuntu)" "use a container or a virtual machine with Debian"
	local memory_mb disk_mb
	memory_mb=$(awk '/MemTotal|SwapTotal/ { sum += $2 } END { print int(sum / 1024) }' /proc/meminfo)
	mkdir -p "$CARGO_TARGET_DIR"
	disk_mb=$(df -Pm "$CARGO_TARGET_DIR" | awk 'NR == 2 { print $4 }')
	note "$(nproc) cores, $((memory_mb / 1024)) GiB of memory and swap, $((disk_mb / 1024)) GiB free in $CARGO_TARGET_DIR"
	if ((memory_mb < 6000)); then note "warning: less than 6 GiB of memory and swap; if the build is killed, set CARGO_BUILD_JOBS=1"; fi
	if ((disk_mb < 4000)); then
		die "less than 4 GiB free in $CARGO_TARGET_DIR" "free some space (a full build takes about 15 GiB), or set KAISAR_TARGET_DIR to a folder on another disk"
	elif ((disk_mb < 15000)) && [[ ! -d "$CARGO_TARGET_DIR/debug" ]]; then
		note "warning: a full build takes about 15 GiB"
	fi
}

has_libclang() {
	compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
		compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || [[ -n "${LIBCLANG_PATH:-}" ]]
}

# Succeeds if a command exists, or a file whose path matches a pattern.
has() {
	if [[ "$1" == /* ]]; then compgen -G "$1" >/dev/null; else command -v "$1" >/dev/null; fi
}

# Prints the missing packages, on one line. Arguments: further requirements, as `command:package` or
# `path:package`.
missing_packages() {
	local missing=() pair
	for pair in protoc:protobuf-compiler clang:clang cmake:cmake pkg-config:pkg-config make:make \
		g++:g++ perl:perl tc:iproute2 curl:curl pgrep:procps podman:podman runc:runc "$@"; do
		has "${pair%%:*}" || missing+=("${pair#*:}")
	done
	has_libclang || missing+=(libclang-dev)
	# The images of the tests contain nothing else, so busybox must not need libraries (scripts/engine.sh).
	if [[ ! -x /bin/busybox ]] || ldd /bin/busybox >/dev/null 2>&1; then missing+=(busybox-static); fi
	[[ -e /usr/include/openssl/ssl.h ]] || missing+=(libssl-dev)
	[[ -s /etc/ssl/certs/ca-certificates.crt ]] || missing+=(ca-certificates)
	# Vulkan, and a driver without a GPU, on which the trial's kernels are tested.
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
		note "all packages are installed"
		return
	fi
	command -v apt-get >/dev/null ||
		die "these packages are missing, and apt-get does not exist to install them: $missing" \
			"install their counterparts of your distribution, and run this again"
	note "missing: $missing"
	ADVICE="check the network and the package sources, then run: apt-get update && apt-get install $missing"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 update
	# shellcheck disable=SC2086 # one word a package
	without_services $missing
}

# Installs packages without the services that Debian starts with them: Docker's daemon, and a database
# cluster for the machine. The tests start their own. No installed service is stopped or changed.
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
		note "Docker's service is disabled; to use it: systemctl enable --now docker"
	fi
}

# Installs the binary of a newer Node.js from npm into the cache folder if needed: Debian 12 and Ubuntu 24.04
# have Node.js 18.
install_nodejs() {
	local cached="$KAISAR_CACHE/nodejs-$KAISAR_NODEJS" arch package
	if ! has_nodejs; then
		case "$(uname -m)" in
			x86_64) arch=x64 ;;
			aarch64) arch=arm64 ;;
			*) die "npm has no Node.js for $(uname -m)" "install Node.js $KAISAR_NODEJS_MIN or newer and npm, and run this again" ;;
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
	# Installed explicitly, since automatic installation may be off (RUSTUP_AUTO_INSTALL=0).
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

# Installs a software Vulkan driver with matrix units into the cache folder, since Debian 12 and Ubuntu 24.04
# have none. Only the unit tests need it.
install_mesa() {
	if [[ -x "$KAISAR_MESA/run" ]]; then
		note "the Vulkan driver for the tensor kernels is installed"
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
		note "the npm packages are installed"
		return
	fi
	ADVICE="check that the npm registry can be reached, then run: cd e2e && npm ci"
	# Fetched packages must not run code while they are installed.
	(cd "$KAISAR_ROOT/e2e" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
	printf '%s\n' "$want" >"$stamp"
}

# Installs everything. Optional arguments: further requirements, as `command:package` or `path:package`.
# shellcheck disable=SC2120
setup_all() {
	step 'set-up: machine' '' check_machine
	step 'set-up: packages' '' install_packages "$@"
	step 'set-up: Rust' '' install_rust
	step 'set-up: Node.js' '' install_nodejs
	step 'set-up: npm packages' '' install_npm
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
	case "${1:-}" in
		'') ;;
		-h | --help)
			cat <<-HELP
				usage: scripts/setup.sh

				Installs the requirements of the build and the tests: Debian packages, the Rust toolchain of
				rust-toolchain.toml with the target wasm32v1-none, Node.js and the npm packages of e2e/.
				Changes nothing that is already installed. Needs git, rustup, and root or sudo.

				The tests need Docker's daemon, PostgreSQL and Chromium (350 MB to fetch on a bare Debian 12). None of
				them is started: each test starts its own, and does not touch the machine's.

				A newer Mesa for the tests of the tensor kernels comes from a newer Debian into a folder of its own
				(scripts/mesa.sh).

				environment:
				  KAISAR_TARGET_DIR      folder for builds (default: $KAISAR_CACHE/target)
				  KAISAR_MESA            folder of that Mesa (default: $KAISAR_CACHE/mesa-26.1)
				  KAISAR_DEBIAN_MIRROR   mirror of Debian's packages (default: this machine's, or deb.debian.org)
				  KAISAR_CHROMIUM        browser of the tests, for systems without Debian's (Ubuntu's is a snap, which
				                         does not run as root), with its driver in KAISAR_CHROMEDRIVER
			HELP
			exit 0
			;;
		*) die "unknown argument: $1" "scripts/setup.sh --help" ;;
	esac
	setup_all "${TEST_PACKAGES[@]}"
	step 'set-up: Mesa' '' install_mesa
	say "ready; next: ./scripts/dev.sh or ./scripts/test.sh"
fi
