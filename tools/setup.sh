#!/bin/sh
# Makes .venv hold what requirements/dev.txt locks, our own distributions (editable) and the stubs. `make` runs it first.
#
# Needs  Python 3.11 to 3.13 with its venv module, or with pip; the network, or a warm cache.
# Quick  when nothing it depends on has changed: .venv/.fingerprint says so.
# Heals  what an interrupted run left: .venv/.unfinished marks it, and it is made anew.
# Fails  with one line; the whole story is then in .venv/setup.log.
set -eu
cd "$(dirname "$0")/.."

log=.venv/setup.log
dists="clients/python clients/mlflow runtime services/tracking services/features services/registry services/automl services/serving"

say() { echo "set-up: $*"; }
fail() {
    echo "set-up: $*" >&2
    exit 1
}

fingerprint() { # of the folder's own place, since scripts in .venv name it, and of everything that shapes .venv
    {
        pwd
        cksum requirements/setup.txt requirements/dev.txt tools/setup.sh tools/openmp.py clients/python/hatch_build.py
        for dist in $dists; do cksum "$dist/pyproject.toml"; done
        find protos -type f | LC_ALL=C sort | xargs cksum
    } | cksum
}

quietly() { # what is done, command...
    what=$1
    shift
    "$@" >>$log 2>&1 && return
    if grep -qiE 'error sending request|failed to fetch|dns error|failed to establish|name resolution|timed out|max retries|network is unreachable|from versions: none' $log; then
        fail "$what failed: the package index does not answer. Check the network, HTTPS_PROXY, UV_DEFAULT_INDEX; details in $log"
    fi
    fail "$what failed: $(grep -iE '(error|cause):' $log | tail -n 1). Details in $log"
}

find_python() { # prints the path of the first Python that fits
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            case $(command -v "$candidate") in
                "$PWD"/.venv/*) "$candidate" -c 'import sys; print(sys._base_executable)' ;; # .venv may be about to go
                *) command -v "$candidate" ;;
            esac
            return
        fi
    done
    fail "needs Python 3.11 to 3.13, found $(${PYTHON:-python3} --version 2>/dev/null || echo none); PYTHON=/path/to/python3 make … names another"
}

make_environment() { # an empty .venv with uv in it
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    mkdir .venv
    : >.venv/.unfinished
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        quietly "making .venv" "$python" -m venv .venv
        quietly "installing uv" .venv/bin/python -m pip install --require-hashes --requirement requirements/setup.txt
    elif "$python" -m pip --version >/dev/null 2>&1; then
        quietly "fetching uv" "$python" -m pip install --target .venv/.uv --require-hashes --requirement requirements/setup.txt
        quietly "making .venv" .venv/.uv/bin/uv venv --allow-existing --python "$python" .venv
        quietly "installing uv" .venv/.uv/bin/uv pip install --python .venv/bin/python --require-hashes --requirement requirements/setup.txt
        rm -rf .venv/.uv
    else
        rm -rf .venv
        fail "$python has neither venv nor pip; on Debian: apt-get install python3-venv"
    fi
}

if command -v flock >/dev/null; then # two runs at once take turns
    exec 9<tools/setup.sh
    flock 9
fi

wanted=$(fingerprint)
[ "$wanted" = "$(cat .venv/.fingerprint 2>/dev/null)" ] && exit 0

began=$(date +%s)
rm -f .venv/.fingerprint
if [ -e .venv/.unfinished ] || ! .venv/bin/uv --version >/dev/null 2>&1 || ! .venv/bin/python -c '' 2>/dev/null; then
    make_environment
fi
: >.venv/.unfinished
: >$log
say "installing packages (the first time takes about a minute)"
quietly "installing packages" .venv/bin/uv pip install --python .venv/bin/python --require-hashes --requirement requirements/dev.txt
say "installing Fivefold's own distributions and making the stubs"
quietly "installing Fivefold" .venv/bin/uv pip install --python .venv/bin/python --no-deps --no-build-isolation \
    $(for dist in $dists; do printf -- '--editable %s ' "$dist"; done)
.venv/bin/python tools/openmp.py # ends set-up with its own one line when LightGBM cannot load
rm .venv/.unfinished
echo "$wanted" >.venv/.fingerprint
say "ready after $(($(date +%s) - began)) s"
