#!/usr/bin/env bash
# A Vulkan driver with matrix units, in software, to test the tensor kernels on: Mesa's, in a folder of its own,
# beside whatever Mesa the machine has. Debian's packages, from a newer Debian where this one is too old, with the
# libraries they need, the C library included; nothing of the machine is changed.
set -euo pipefail

# Mesa's release with the units, and the Debian releases that have it.
MESA_MIN='26.1'
SUITES=(trixie trixie-backports)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

usage() {
	cat <<-HELP
		usage: scripts/mesa.sh DIR

		Makes DIR, unless it is there, with Mesa $MESA_MIN or newer, its software Vulkan and spirv-val. Then

		    DIR/run PROGRAM ARGUMENT …

		runs a program with that driver.

		environment:
		  KAISAR_DEBIAN_MIRROR   where Debian's packages are, if this machine is not Debian
	HELP
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# Where this machine gets Debian's packages from.
mirror() {
	if [[ -n "${KAISAR_DEBIAN_MIRROR:-}" ]]; then
		printf '%s' "$KAISAR_DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Identifier: Packages' |
		sed -n 's/^Debian Debian //p' | sed -n 1p
}

# apt-get, with lists, cache and sources in $1 and as if no package were installed.
private_apt() {
	local apt=$1
	shift
	apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o APT::Default-Release="${SUITES[-1]}" -o APT::Install-Recommends=0 -o APT::Sandbox::User= "$@"
}

fetch() {
	local apt=$1 root=$2 from suite package
	command -v apt-get >/dev/null || die "there is no apt-get here to fetch Debian's packages with"
	[[ -s "$KEYRING" ]] || die "Debian's keys are missing: apt-get install debian-archive-keyring"
	from=$(mirror)
	[[ -n "$from" ]] || die "where are Debian's packages? Say it in KAISAR_DEBIAN_MIRROR"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$root"
	: >"$apt/status"
	for suite in "${SUITES[@]}"; do
		printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$from" "$suite"
	done >"$apt/sources.list"
	private_apt "$apt" update
	private_apt "$apt" install --yes --download-only mesa-vulkan-drivers libvulkan1 spirv-tools >/dev/null
	for package in "$apt"/cache/archives/*.deb; do
		dpkg-deb --extract "$package" "$root"
	done
}

# Writes DIR/run: the program starts by that C library's own loader, and finds only the software's driver.
write_run() {
	local dir=$1 root=$1/root loader libraries driver
	loader=$(find "$root"/usr/lib* -maxdepth 1 -name 'ld-linux*.so*' | sed -n 1p)
	driver=$(find "$root"/usr/lib -name libvulkan_lvp.so | sed -n 1p)
	[[ -n "$loader" && -n "$driver" ]] || die "the packages hold no driver"
	libraries=$(dirname "$driver")
	# Its paths are those of the machine that the packages were made for.
	sed -E "s#\"library_path\": *\"[^\"]*\"#\"library_path\": \"$DIR/root${driver#"$root"}\"#" \
		"$root"/usr/share/vulkan/icd.d/lvp_icd*.json >"$dir/lvp.json"
	cat >"$dir/run" <<-RUN
		#!/bin/sh
		# Made by scripts/mesa.sh: runs a program with the software Vulkan of this folder.
		here='$DIR'
		program=\$(command -v "\$here/root/usr/bin/\$1" || command -v "\$1") || exit 127
		shift
		export VK_DRIVER_FILES="\$here/lvp.json" VK_ICD_FILENAMES="\$here/lvp.json"
		exec "\$here/root${loader#"$root"}" --library-path "\$here/root${libraries#"$root"}" "\$program" "\$@"
	RUN
	chmod +x "$dir/run"
}

case "${1:-}" in
	-h | --help) usage && exit 0 ;;
	'') usage >&2 && exit 2 ;;
esac
mkdir -p "$(dirname "$1")"
DIR=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
if [[ -x "$DIR/run" ]]; then exit 0; fi
WORK=$(mktemp -d "$DIR.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
fetch "$WORK/apt" "$WORK/root"
rm -rf "$WORK/apt"
write_run "$WORK"
# Whole or not at all.
rm -rf "$DIR"
mv -T "$WORK" "$DIR"
