#!/usr/bin/env bash
# A Vulkan driver with matrix units, in software, to test the tensor kernels on: Mesa's, in a folder of its own,
# beside whatever Mesa the machine has. Debian's packages, from a newer Debian, with the libraries they need, the C
# library included; nothing of the machine is changed.
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
		  KAISAR_DEBIAN_MIRROR   where Debian's packages are, if not at deb.debian.org or where this machine has its own from
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
	local found
	# What is in use, and else what the sources say: their lists may never have been fetched.
	# shellcheck disable=SC2016 # apt's own variables
	found=$({
		apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Identifier: Packages' |
			sed -n 's/^Debian Debian //p' || true
		if grep -qx 'ID=debian' /etc/os-release; then
			cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
				sed -nE 's/^(deb|URIs:) *(\[[^]]*\] *)?(https?:[^ ]*\/debian\/?)( .*)?$/\3/p' || true
		fi
	} | sed -n 1p)
	printf '%s' "${found:-https://deb.debian.org/debian}"
}

# apt-get, with lists, cache and sources in $1 and as if no package were installed.
private_apt() {
	local apt=$1
	shift
	apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o APT::Architectures="$(dpkg --print-architecture)" -o APT::Default-Release="${SUITES[-1]}" \
		-o APT::Install-Recommends=0 -o APT::Sandbox::User= "$@"
}

fetch() {
	local apt=$1 root=$2 from suite package version=''
	command -v apt-get >/dev/null || die "there is no apt-get here to fetch Debian's packages with"
	[[ -s "$KEYRING" ]] || die "Debian's keys are missing: apt-get install debian-archive-keyring"
	from=$(mirror)
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$root"
	: >"$apt/status"
	for suite in "${SUITES[@]}"; do
		printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$from" "$suite"
	done >"$apt/sources.list"
	private_apt "$apt" update
	private_apt "$apt" install --yes --download-only mesa-vulkan-drivers libvulkan1 spirv-tools >/dev/null
	for package in "$apt"/cache/archives/*.deb; do
		if [[ "$package" == */mesa-vulkan-drivers_* ]]; then version=$(dpkg-deb --field "$package" Version); fi
		dpkg-deb --extract "$package" "$root"
	done
	dpkg --compare-versions "$version" ge "$MESA_MIN" || die "Debian's Mesa is $version; $MESA_MIN is needed"
}

# Writes run: the program starts by that C library's own loader, and finds only the software's driver.
write_run() {
	local dir=$1 loader libraries
	loader=$(cd "$dir" && find root/usr/lib* -maxdepth 1 -name 'ld-linux*.so*' | sed -n 1p)
	libraries=$(cd "$dir" && dirname "$(find root/usr/lib -name libvulkan_lvp.so)")
	[[ -n "$loader" && -e "$dir/$libraries/libvulkan_lvp.so" ]] || die "the packages hold no driver"
	# The driver's path there is that of the machine that the packages were made for.
	sed -E "s#\"library_path\": *\"[^\"]*\"#\"library_path\": \"./$libraries/libvulkan_lvp.so\"#" \
		"$dir"/root/usr/share/vulkan/icd.d/lvp_icd*.json >"$dir/lvp.json"
	cat >"$dir/run" <<-RUN
		#!/bin/sh
		# Made by scripts/mesa.sh: runs a program with the software Vulkan of this folder.
		here=\$(cd "\$(dirname "\$0")" && pwd)
		program=\$(command -v "\$here/root/usr/bin/\$1" || command -v "\$1") || exit 127
		shift
		export VK_DRIVER_FILES="\$here/lvp.json" VK_ICD_FILENAMES="\$here/lvp.json"
		exec "\$here/$loader" --library-path "\$here/$libraries" "\$program" "\$@"
	RUN
	chmod 755 "$dir" "$dir/run"
}

case "${1:-}" in
	-h | --help) usage && exit 0 ;;
	'') usage >&2 && exit 2 ;;
esac
DIR=${1%/}
mkdir -p "$(dirname "$DIR")"
# One at a time: who comes later finds it made.
exec 9>"$DIR.lock"
flock 9
if [[ -x "$DIR/run" ]]; then exit 0; fi
# Nothing is removed that is not ours.
if [[ -e "$DIR" ]]; then rmdir "$DIR" 2>/dev/null || die "$DIR is there, and is not what this script makes"; fi
WORK=$(mktemp -d "$DIR.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
fetch "$WORK/apt" "$WORK/root"
rm -rf "$WORK/apt"
write_run "$WORK"
# Whole or not at all.
mv -T "$WORK" "$DIR"
