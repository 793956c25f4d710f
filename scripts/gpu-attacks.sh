#!/usr/bin/env bash
# Attacks the trial's assumptions about time with fast code on a real GPU, and measures the results. The
# programs are in agent/benches/attacks; docs/proof.md explains their figures.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
	cat <<-HELP
		usage: scripts/gpu-attacks.sh [--built FOLDER] [ATTACK …]
		       scripts/gpu-attacks.sh build FOLDER
		       scripts/gpu-attacks.sh test

		Compiles the attacks with nvcc, runs them on the first GPU, and prints a line of JSON for each figure, and a
		table of all figures at the end. Without names it runs all attacks, which takes about four minutes on an H200:
		  lanes        CPU lanes on the GPU
		  host         host memory instead of a part of a window, and windows that are swapped
		  identities   two and three identities on one GPU, and lines that are recomputed
		  processor    the processor instead of a GPU (needs no GPU; products by PyTorch or ONNX Runtime, if installed)
		  cores        CPU lanes by vectors (needs no GPU, but a built bench, see below)

		  build FOLDER     only compile, into this folder; needs no GPU
		  --built FOLDER   run the programs in this folder, and compile nothing
		  test             compare the attacks' lanes with the agent's, and compile the rest if nvcc is installed;
		                   needs no GPU

		environment:
		  NVCC                  compiler for GPUs (default: nvcc of the path, or /usr/local/cuda/bin/nvcc)
		  CXX                   compiler for programs without a GPU (default: c++)
		  KAISAR_GPU_ARCH       target of the compilation (default: 90a, Hopper; others, such as 80, omit the product)
		  KAISAR_LANES_BENCH    built bench "lanes" of the agent (cargo bench --no-run --profile dev
		                        -p kaisar-agent --bench lanes; default: "cores" in the folder of --built); without
		                        it "cores" is omitted
		  KAISAR_ATTACK_SECS    timeout of an attack, in seconds (default: 150)
	HELP
}

SOURCES="$KAISAR_ROOT/agent/benches/attacks"
ARCH="${KAISAR_GPU_ARCH:-90a}"
CXX="${CXX:-c++}"
NVCC="${NVCC:-$(command -v nvcc || true)}"
[[ -n "$NVCC" || ! -x /usr/local/cuda/bin/nvcc ]] || NVCC=/usr/local/cuda/bin/nvcc
BUILT=''
ONLY=''
ATTACKS=()
while (($#)); do
	case "$1" in
		-h | --help) usage && exit 0 ;;
		--built | build)
			[[ -n "${2:-}" ]] || die "$1 takes a folder" "scripts/gpu-attacks.sh --help"
			[[ "$1" == build ]] && ONLY='build'
			BUILT=$2
			shift
			;;
		test) ONLY='test' ;;
		lanes | host | identities | processor | cores) ATTACKS+=("$1") ;;
		*) die "unknown argument: $1" "scripts/gpu-attacks.sh --help" ;;
	esac
	shift
done
wanted() { [[ ${#ATTACKS[@]} -eq 0 || " ${ATTACKS[*]} " == *" $1 "* ]]; }

# Prints the folder of a file of CUDA's libraries, in the toolkit or in Python's packages.
cuda_folder() {
	local places=(/usr/local/cuda/ /usr/lib/x86_64-linux-gnu)
	[[ -z "$NVCC" ]] || places=("$(dirname "$(readlink -f "$NVCC")")/.." "${places[@]}")
	if command -v python3 >/dev/null; then
		places+=("$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"] + "/nvidia")')")
	fi
	local file
	file=$(find -L "${places[@]}" -maxdepth 4 -name "$1" -print -quit 2>/dev/null || true)
	[[ -z "$file" ]] || dirname "$file"
}

# A program built in advance may run on another processor.
MACHINE=native
[[ "$ONLY" != build ]] || MACHINE=x86-64-v3
compile_plain() { "$CXX" -std=c++17 -O3 "-march=$MACHINE" -Wall -Wextra -pthread "$SOURCES/$1.cpp" -o "$2/$1"; }

compile_gpu() {
	local options=(-std=c++17 -O3 -Xcompiler "-Wall,-Wextra" "-gencode=arch=compute_$ARCH,code=sm_$ARCH")
	if [[ "$1" == identities ]]; then
		local headers libraries
		headers=$(cuda_folder cublas_v2.h)
		libraries=$(cuda_folder 'libcublas.so*')
		[[ -n "$headers" && -n "$libraries" ]] || die "cuBLAS is not installed" "install it, or leave out identities"
		options+=("-I$headers" "-L$libraries" "-l:$(basename "$(find "$libraries/" -name 'libcublas.so*' -print -quit)")")
	fi
	local runtime
	runtime=$(cuda_folder libcudart_static.a)
	[[ -z "$runtime" ]] || options+=("-L$runtime")
	"$NVCC" "${options[@]}" "$SOURCES/$1.cu" -o "$2/$1"
}

# Compiles the selected programs in parallel.
compile() {
	local folder=$1 name jobs=()
	for name in lanes host identities; do
		if wanted "$name"; then
			compile_gpu "$name" "$folder" &
			jobs+=($!)
		fi
	done
	if wanted processor; then
		compile_plain processor "$folder" &
		jobs+=($!)
	fi
	for name in "${jobs[@]}"; do
		wait "$name" || die "an attack does not compile" "read the compiler's errors above"
	done
}

needs_nvcc() { [[ -n "$NVCC" ]] || die "nvcc is not installed: the attacks on a GPU cannot be compiled" "see NVCC in scripts/gpu-attacks.sh --help"; }

FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT

if [[ "$ONLY" == test ]]; then
	compile_plain lanes-test "$FOLDER"
	"$FOLDER/lanes-test"
	if [[ -n "$NVCC" ]]; then
		compile "$FOLDER"
	else
		note "nvcc is not installed: the programs for GPUs were not compiled"
	fi
	exit 0
fi
if [[ "$ONLY" == build ]]; then
	needs_nvcc
	mkdir -p "$BUILT"
	compile "$BUILT"
	exit 0
fi

if wanted lanes || wanted host || wanted identities; then
	if ! nvidia-smi -L >"$FOLDER/gpus" 2>/dev/null || [[ ! -s "$FOLDER/gpus" ]]; then
		die "this machine has no NVIDIA GPU" "run processor or cores, which need none"
	fi
	[[ -n "$BUILT" ]] || needs_nvcc
	nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader
fi
grep -m1 'model name' /proc/cpuinfo || true
if [[ -z "$BUILT" ]]; then
	BUILT="$FOLDER/built"
	mkdir "$BUILT"
	say "compiling"
	compile "$BUILT"
fi
LIBRARIES=$(cuda_folder 'libcublas.so*')
export LD_LIBRARY_PATH="${LIBRARIES:+$LIBRARIES:}${LD_LIBRARY_PATH:-}"

FIGURES="$FOLDER/figures"
: >"$FIGURES"
FAILED=()
# Runs an attack, and records a failure.
attack() {
	local name=$1
	shift
	say "$name"
	timeout "${KAISAR_ATTACK_SECS:-150}" "$@" | tee -a "$FIGURES" || FAILED+=("$name")
}

if wanted lanes; then attack lanes "$BUILT/lanes"; fi
if wanted identities; then attack identities "$BUILT/identities"; fi
if wanted host; then attack host "$BUILT/host"; fi
if wanted processor; then
	attack processor "$BUILT/processor"
	attack products python3 "$SOURCES/processor.py"
fi
if wanted cores; then
	CORES="${KAISAR_LANES_BENCH:-$BUILT/cores}"
	if [[ -x "$CORES" ]]; then
		attack cores "$CORES" quick json
	else
		note "$CORES is not a built bench (see KAISAR_LANES_BENCH in --help): lanes by vectors were not measured"
	fi
fi

# The table omits times and factors of the many ways to run lanes on a core; the lines of JSON have them.
say "all figures"
sed -nE '/"figure":"cores: .*"unit":"(us|times)"/d; s/^\{"figure":"([^"]*)","value":([^,]*),"unit":"([^"]*)"\}$/\2 \3\t\1/p' "$FIGURES" | awk -F'\t' '{ printf "%18s  %s\n", $1, $2 }'
if ((${#FAILED[@]})); then die "failed: ${FAILED[*]}" "read their output above; KAISAR_ATTACK_SECS sets the timeout"; fi
