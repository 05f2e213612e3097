#!/bin/sh
# Runs benchmarks, all or those named (`tracking.search`), on SQLite and where it matters on PostgreSQL.
# Each prints its JSON and leaves it in .bench/NAME.json. Nothing else should be at work on the machine meanwhile.
set -eu
cd "$(dirname "$0")/.."

bench() { # module, then its arguments; runs when nothing was named, or this module was
    module=$1
    shift
    case " $wanted " in "  " | *" $module "*) ;; *) return ;; esac
    answer=".bench/$module$(printf %s "$*" | tr -d ' ' | tr -s '-' '-').json"
    echo "== $module $*" >&2
    .venv/bin/python -m "benchmarks.$module" "$@" >"$answer"
    cat "$answer"
}

wanted="$*"
for database in sqlite postgresql; do
    bench tracking.writes --database $database
    bench tracking.search --database $database
    bench tracking.history --database $database
    bench registry.calls --database $database
    bench registry.promotion --database $database
done
bench tracking.stream
for store in sqlite redis; do
    bench features.online --store $store
    bench features.publishing --store $store
done
