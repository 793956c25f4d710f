#!/usr/bin/env bash
# Compiles the CUDA kernels of agent/cuda/ to the PTX that is committed beside them, which drivers compile
# for the machine's GPU.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# NVIDIA's compiler, from PyPI. The same versions give the same PTX.
NVCC_VERSION='13.0.88'
NVCC_PACKAGES=("nvidia-cuda-nvcc==$NVCC_VERSION" "nvidia-nvvm==$NVCC_VERSION" "nvidia-cuda-crt==$NVCC_VERSION" nvidia-cuda-runtime==13.0.96)
NVCC_FOLDER="${KAISAR_NVCC:-$KAISAR_CACHE/nvcc-$NVCC_VERSION}"

usage() {
	cat <<-HELP
		usage: scripts/ptx.sh [build | check]

		  build   compile the kernels, and replace agent/cuda/ptx/ (the default)
		  check   compile them to a temporary folder and compare, and assemble them for every kind of GPU that they
		          support: no register may be spilled

		The compiler comes from PyPI, into its own folder. Without network, check notes that and passes.

		environment:
		  KAISAR_NVCC   the compiler's folder (default: $NVCC_FOLDER)
	HELP
}

# For each file: its source, its target, its PTX version (the lowest that has its instructions: every higher
# version excludes drivers), and the GPUs that it is assembled for in a check.
FILES=(
	'base_75    base    75  6.3 75 80 86 89'
	'base_90    base    90  7.8 90 100 120'
	'product_75 product 75  6.5 75'
	'product_80 product 80  7.0 80 86 89'
	'product_90 product 90  7.8 90 100 120'
	'product_90a hopper 90a 8.0 90a'
)

# Threads of a block of the kernels whose code does not state them.
declare -A THREADS=([product_hopper]=256 [product_hopper_apart]=384)

# Fetches the compiler, unless present.
fetch_nvcc() {
	NVCC_ROOT="$NVCC_FOLDER/nvidia/cu13"
	[[ ! -x "$NVCC_ROOT/bin/nvcc" ]] || return 0
	local new="$NVCC_FOLDER.new.$$"
	rm -rf "$new"
	mkdir -p "$new"
	if ! python3 -m pip --disable-pip-version-check -q install --no-deps --only-binary :all: --target "$new" \
		"${NVCC_PACKAGES[@]}" >"$new/log" 2>&1; then
		tail -n 3 "$new/log" >&2
		rm -rf "$new"
		return 1
	fi
	chmod +x "$new"/nvidia/cu13/bin/* "$new"/nvidia/cu13/nvvm/bin/*
	rm -rf "$NVCC_FOLDER"
	mv "$new" "$NVCC_FOLDER"
}

# Compiles all files into a folder.
compile() {
	local folder=$1 file name source target version jobs=()
	for file in "${FILES[@]}"; do
		read -r name source target version _ <<<"$file"
		(
			"$NVCC_ROOT/bin/nvcc" -std=c++17 -O3 -Werror all-warnings -ptx "-arch=compute_$target" "-DKAISAR_ARCH=${target%a}0" \
				"$KAISAR_ROOT/agent/cuda/$source.cu" -o "$folder/$name.raw"
			# Without the compiler's own comments, and in the lowest version.
			sed -E '/^\/\//d; /^$/d; s/^\.version .*/.version '"$version"'/' "$folder/$name.raw" >"$folder/$name.ptx"
			rm "$folder/$name.raw"
		) &
		jobs+=($!)
	done
	local job
	for job in "${jobs[@]}"; do
		wait "$job" || die "a kernel does not compile" "see the compiler's errors above"
	done
}

# Assembles the files, which shows that their version has all instructions; prints each kernel's registers,
# and fails if registers are spilled or a multiprocessor has too few for one block.
assemble() {
	local folder=$1 file name target targets said kernel registers spills threads all failed=()
	for file in "${FILES[@]}"; do
		read -r name _ _ _ targets <<<"$file"
		for target in $targets; do
			said=$("$NVCC_ROOT/bin/ptxas" -v "-arch=sm_$target" "$folder/$name.ptx" -o /dev/null 2>&1) ||
				die "$name cannot be assembled for sm_$target: $said"
			# C75…: serialized matrix products, which the assembler reports without a warning.
			[[ "$said" != *warning* && "$said" != *'(C75'* ]] || die "$name, assembled for sm_$target: $said"
			while read -r kernel registers spills; do
				threads=$(awk -v entry=".entry $kernel(" 'index($0, entry) { on = 1 } on && /^\.maxntid/ { print $2 + 0; exit } on && /^{/ { exit }' \
					"$folder/$name.ptx")
				threads=${threads:-${THREADS[$kernel]:-}}
				[[ -n "$threads" ]] || die "the number of threads of a block of $kernel is unknown" "add it to THREADS in scripts/ptx.sh"
				printf '    %-12s sm_%-4s %-20s %3d registers, %s bytes spilled, %d threads\n' "$name" "$target" "$kernel" "$registers" "$spills" "$threads"
				# Registers are allocated in eights, to warps in fours.
				all=$(((registers + 7) / 8 * 8 * ((threads + 127) / 128 * 128)))
				((all <= 65536)) || failed+=("$kernel on sm_$target takes $all registers; a multiprocessor has 65536")
				[[ "$spills" == 0 ]] || failed+=("$kernel on sm_$target spills $spills bytes; none are allowed")
			done < <(awk '/Compiling entry/ { split($0, part, "\x27"); kernel = part[2] } /spill stores/ && kernel { spills = $5 }
				/Used [0-9]+ registers/ { match($0, /Used [0-9]+/); print kernel, substr($0, RSTART + 5, RLENGTH - 5), spills; kernel = "" }' <<<"$said")
		done
	done
	((${#failed[@]} == 0)) || die "$(printf '%s\n' "${failed[@]}")"
}

main() {
	local act=build folder
	case "${1:-}" in
		-h | --help) usage && exit 0 ;;
		'' | build) ;;
		check) act=check ;;
		*) die "unknown argument: $1" "scripts/ptx.sh --help" ;;
	esac
	if ! fetch_nvcc; then
		[[ "$act" == check ]] || die "the compiler cannot be fetched" "see KAISAR_NVCC in scripts/ptx.sh --help"
		note "CUDA's compiler cannot be fetched: the committed PTX was not compared with a fresh build"
		return
	fi
	folder=$(mktemp -d)
	# shellcheck disable=SC2064 # expands now, since the variable is local
	trap "rm -rf '$folder'" EXIT
	compile "$folder"
	if [[ "$act" == build ]]; then
		mkdir -p "$KAISAR_ROOT/agent/cuda/ptx"
		cp "$folder"/*.ptx "$KAISAR_ROOT/agent/cuda/ptx/"
		return
	fi
	diff -rq "$folder" "$KAISAR_ROOT/agent/cuda/ptx" ||
		die "the PTX in agent/cuda/ptx differs from what agent/cuda compiles to" "run scripts/ptx.sh and commit its output"
	assemble "$folder"
}

main "$@"
