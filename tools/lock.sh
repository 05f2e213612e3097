#!/bin/sh
# Compiles requirements/*.txt: one hashed lock per distribution that is deployed alone, setup.txt for uv,
# build.txt for making wheels, dev.txt for everything.
# A lock names third-party packages only, for every platform and Python that we support, and no host.
# A release that a lock already holds stays; `UPGRADE=1 make lock` takes newer ones.
set -eu
cd "$(dirname "$0")/.."

cpu='xgboost-cpu>=3.0 ; sys_platform != "darwin"' # see requirements/overrides.txt
server='./clients/python
./runtime[postgres]'

lock() { # lock's name, then requirements
    lock="requirements/$1.txt"
    shift
    printf '%s\n' "$@" |
        .venv/bin/uv pip compile - --quiet --universal --python-version 3.11 --generate-hashes ${UPGRADE:+--upgrade} \
            --override requirements/overrides.txt --custom-compile-command "make lock" --output-file "$lock" \
            --no-emit-package fivefold --no-emit-package fivefold-runtime --no-emit-package fivefold-tracking \
            --no-emit-package fivefold-features --no-emit-package fivefold-registry --no-emit-package fivefold-automl \
            --no-emit-package fivefold-serving --no-emit-package fivefold-mlflow >/dev/null
    echo "$lock: $(grep -c '==' "$lock") packages"
}

lock setup uv
lock build '-r requirements/build.in'
lock client './clients/python[all]' "$cpu"
lock tracking "$server" './services/tracking[postgres]'
lock features "$server" './services/features[postgres,redis]'
lock registry "$server" './services/registry[postgres]'
lock automl "$server" './services/automl[postgres]' "$cpu"
lock serving "$server" './services/serving[postgres]' "$cpu"
lock dev './clients/python[all]' './clients/mlflow' './runtime[postgres,tracing,testing]' './services/tracking' './services/features[redis]' './services/registry' \
    './services/automl' './services/serving' "$cpu" '-r requirements/dev.in' '-c requirements/setup.txt' '-c requirements/build.txt'
