#!/usr/bin/env bash
# Builds the stub of CUDA's driver: build.sh FILE [OPTION …]
set -euo pipefail
case "${1:-}" in
	'' | -*)
		printf 'usage: build.sh FILE [OPTION …]\n' >&2
		exit 2
		;;
esac
FILE=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")"
# Whole or not at all: tests may build it side by side.
"${CXX:-c++}" -std=c++17 -O2 -fPIC -shared -pthread -fvisibility=hidden -DKAISAR_EMULATED "$@" -Wl,-soname,libcuda.so.1 \
	libcuda.cpp kernels.cpp machine.cpp instructions.cpp memory.cpp -o "$FILE.$$"
mv "$FILE.$$" "$FILE"
# The agent asks for this name first, under which a real driver may be installed.
ln -s "$(basename "$FILE")" "$FILE.$$"
mv -f "$FILE.$$" "$(dirname "$FILE")/libcuda.so"
