#!/bin/sh
# Makes the environments of the programs that benchmarks compare with, one each below .bench/, as pip resolves them today.
# What came out is printed, and stands in every benchmark's answer.
set -eu
cd "$(dirname "$0")/.."

peer() { # environment's name, package that names it, then packages
    name=$1
    shift
    if [ ! -x ".bench/$name/bin/python" ]; then
        .venv/bin/uv venv --quiet --python .venv/bin/python ".bench/$name"
    fi
    .venv/bin/uv pip install --quiet --python ".bench/$name/bin/python" "$@"
    echo "$name: $(.venv/bin/uv pip list --python ".bench/$name/bin/python" --format freeze | grep -i "^$1==")"
}

peer mlflow mlflow psycopg2-binary
