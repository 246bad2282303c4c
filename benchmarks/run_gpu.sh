#!/usr/bin/env bash
# Benchmarks and the MovieLens-1M recipe on a machine with a GPU that has PyTorch and Transformers but no network and no DVC.
#
#   benchmarks/run_gpu.sh packages              where there is a network: wheels of what that machine lacks, into .gpu/wheels
#   benchmarks/run_gpu.sh bench [--quick]       all benchmarks, the slow ones excepted; tables into the folder of results
#   benchmarks/run_gpu.sh recipe ml-1m-gpu      the stages of a preset, the trainings included; call it again until it says it is done.
#                                               What comes after them, unpack the state into a checkout's worktree of the preset and run there
#
# The checkout travels with .gpu/wheels, with .gpu/archives/ml-1m*.zip for `recipe`, and with models/ and data/ of `make repro` for `bench`.
# RESULTS: the folder of results, $OUT where that is set, else benchmarks/results. SECONDS_PER_CALL: when a call ends, 540 seconds.
# PYTHON: the machine's, python3. `recipe` ends with its state in $RESULTS/state.tar.gz.*, which the next call takes from .gpu/state
# (or from the checkout itself, where that is still the same): stages that are done are not run again, training goes on from its checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
RESULTS=$(realpath --canonicalize-missing "${RESULTS:-${OUT:-benchmarks/results}}")
SECONDS_PER_CALL=${SECONDS_PER_CALL:-540}
WHEELS=.gpu/wheels
SITE=${TMPDIR:-/tmp}/prorl-packages
# What a machine made for PyTorch has already, with all that these need.
PRESENT='torch|triton|nvidia-(cu|nccl|nvjitlink|nvshmem|nvtx).*|transformers|accelerate|sentence-transformers|tokenizers|safetensors|huggingface-hub'
PRESENT+='|hf-xet|numpy|scipy|scikit-learn|joblib|threadpoolctl|pyarrow|pillow|jinja2|markupsafe|sympy|mpmath|networkx|tqdm|psutil|grpcio|protobuf'
PRESENT+='|tensorboard.*|werkzeug|markdown|absl-py|pip|setuptools|wheel|regex|requests|urllib3|certifi|charset-normalizer|idna|filelock|fsspec'
PRESENT+='|packaging|pyyaml|typing-extensions|aiohttp|aiosignal|aiohappyeyeballs|frozenlist|multidict|propcache|yarl|attrs|click|typer|rich|shellingham'
PRESENT+='|vl-convert-python|markdown-it-py|mdurl|pygments|anyio|h11|httpcore|httpx|python-dateutil|six|tabulate|colorama|pathspec|pyparsing|narwhals|annotated-doc'
STAGES='fetch prepare mine simulator:SASRec simulator:GRU4Rec embed reduce quantize pretrain finetune'

# What `prorl[pipeline]` requires, directly or not, by the versions of requirements.lock: one `name==version` per line.
required() {
	"$PYTHON" - <<-'END'
		from importlib.metadata import PackageNotFoundError, requires, version

		from packaging.requirements import Requirement
		from packaging.utils import canonicalize_name

		found = {}
		waiting = [("prorl", ("", "pipeline"))]
		while waiting:
		    name, extras = waiting.pop()
		    for requirement in map(Requirement, requires(name) or []):
		        needed = canonicalize_name(requirement.name)
		        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
		            continue
		        if needed in found:
		            continue
		        try:
		            found[needed] = version(needed)
		        except PackageNotFoundError:  # of another platform
		            continue
		        waiting.append((needed, ("", *requirement.extras)))
		print(*sorted(f"{name}=={number}" for name, number in found.items()), sep="\n")
	END
	grep -v '^#' requirements-no-deps.lock
	grep -E '^(colorlog|texttable)==' requirements.lock
}

packages() {
	rm -rf $WHEELS
	mkdir -p $WHEELS
	required | sort -u | grep -viE "^($PRESENT)==" >$WHEELS/list.txt
	# One of them is on offer as source alone; its wheel runs everywhere.
	grep -i '^antlr4' $WHEELS/list.txt | xargs "$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir $WHEELS
	grep -vi '^antlr4' $WHEELS/list.txt | xargs "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
		--implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest $WHEELS
	git rev-parse --short HEAD >$WHEELS/commit.txt
	du -sh $WHEELS
}

install_packages() {
	if [ -d $WHEELS ]; then
		"$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" $WHEELS/*.whl
		[ -d .git ] || export PRORL_COMMIT=$(cat $WHEELS/commit.txt)
	fi
	export PYTHONPATH=$SITE:$PWD PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
	mkdir -p "$RESULTS"
}

bench() {
	install_packages
	timeout "$SECONDS_PER_CALL" "$PYTHON" -m benchmarks --results "$RESULTS" "$@" 2>&1 | tee "$RESULTS/bench.log"
}

recipe() {
	local preset=$1 done=.gpu/done deadline=$((SECONDS + SECONDS_PER_CALL)) dataset status
	install_packages
	if [ ! -d $done ] && compgen -G '.gpu/state/state.tar.gz.*' >/dev/null; then
		cat .gpu/state/state.tar.gz.* | tar --extract --gzip
	fi
	mkdir -p $done
	cp params.yaml .gpu/params.yaml
	trap 'mv .gpu/params.yaml params.yaml' EXIT
	dataset=$("$PYTHON" - "$preset" <<-'END'
		import sys
		from pathlib import Path

		from prorl.presets import preset_file, with_layers, write_params

		params = with_layers(Path(".gpu/params.yaml"), [preset_file(Path(), sys.argv[1])])
		write_params(params, Path("params.yaml"))
		print(params["datasets"][0])
	END
	)
	[ -d .gpu/archives ] && export PRORL_ARCHIVES=$PWD/.gpu/archives
	for stage in $STAGES; do
		[ -e "$done/$stage" ] && continue
		echo "$stage"
		status=0
		timeout $((deadline - SECONDS > 0 ? deadline - SECONDS : 1)) \
			"$PYTHON" "stages/${stage%:*}.py" "$dataset" $([[ $stage == *:* ]] && echo "${stage#*:}") || status=$?
		if [ $status = 124 ]; then
			echo "$stage: not done yet; call again"
			break
		elif [ $status != 0 ]; then
			exit $status
		fi
		touch "$done/$stage"
	done
	rm -f "$RESULTS"/state.tar.gz.*
	tar --create --gzip .gpu/done $(ls -d .checkpoints data/* models/* "reports/$dataset" 2>/dev/null | grep -v '^data/raw$') |
		split --bytes=15M - "$RESULTS/state.tar.gz."
	cp "reports/$dataset/runtime.json" "$RESULTS/"
	if [ -e $done/finetune ]; then
		echo "done: the policies in the state; the time of each stage in runtime.json"
	fi
}

case ${1:-} in
packages) packages ;;
bench) bench "${@:2}" ;;
recipe) recipe "${@:2}" ;;
*)
	sed -n 's/^#   //p' "$0" >&2
	exit 2
	;;
esac
