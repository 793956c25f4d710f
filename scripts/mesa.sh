#!/usr/bin/env bash
# Installs a software Vulkan driver with matrix units, for tests of the tensor kernels: Mesa's, in a folder
# of its own, in addition to the machine's Mesa. It unpacks packages of a newer Debian with all their
# libraries, including the C library, and changes nothing else on the machine.
set -euo pipefail

# Mesa's first release with the units, and the Debian releases that have it.
MESA_MIN='26.1'
SUITES=(trixie trixie-backports)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

usage() {
	cat <<-HELP
		usage: scripts/mesa.sh DIR

		Creates DIR, unless it exists, with Mesa $MESA_MIN or newer, its software Vulkan and spirv-val. Then

		    DIR/run PROGRAM ARGUMENT …

		runs a program with that driver.

		environment:
		  KAISAR_DEBIAN_MIRROR   mirror of Debian's packages (default: this machine's, or deb.debian.org)
	HELP
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# Prints the mirror from which this machine gets Debian's packages.
mirror() {
	if [[ -n "${KAISAR_DEBIAN_MIRROR:-}" ]]; then
		printf '%s' "$KAISAR_DEBIAN_MIRROR"
		return
	fi
	local found
	# The mirror in use, otherwise the one in the sources, whose lists may never have been fetched.
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

# Runs apt-get with lists, cache and sources in $1, and as if no package were installed.
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
	command -v apt-get >/dev/null || die "apt-get is not installed, and Debian's packages cannot be fetched without it"
	[[ -s "$KEYRING" ]] || die "Debian's keys are not installed: apt-get install debian-archive-keyring"
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
	dpkg --compare-versions "$version" ge "$MESA_MIN" || die "the mirror $from has Mesa $version; at least $MESA_MIN is needed. Set KAISAR_DEBIAN_MIRROR to another"
}

# Writes run, which starts a program with the loader of that C library, and lets it find only the software
# driver.
write_run() {
	local dir=$1 loader libraries
	loader=$(cd "$dir" && find root/usr/lib* -maxdepth 1 -name 'ld-linux*.so*' | sed -n 1p)
	libraries=$(cd "$dir" && dirname "$(find root/usr/lib -name libvulkan_lvp.so)")
	[[ -n "$loader" && -e "$dir/$libraries/libvulkan_lvp.so" ]] || die "Debian's packages do not contain the driver libvulkan_lvp.so"
	# The path in the file is valid only where the packages are installed.
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
# One script at a time: a later one finds the folder complete.
exec 9>"$DIR.lock"
flock 9
if [[ -x "$DIR/run" ]]; then exit 0; fi
# Nothing else is removed.
if [[ -e "$DIR" ]]; then rmdir "$DIR" 2>/dev/null || die "$DIR exists, and was not made by this script; name another folder"; fi
WORK=$(mktemp -d "$DIR.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
fetch "$WORK/apt" "$WORK/root"
rm -rf "$WORK/apt"
write_run "$WORK"
# The folder appears complete or not at all.
mv -T "$WORK" "$DIR"
