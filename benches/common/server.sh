# For the scripts of benches/, which source it: a folder of their own, a built guestbook, servers, load. `smoke`, when set, says that
# nothing is measured; `seconds` is how long a load lasts. Sets `work`, `guestbook`, `pids` of what is to be ended.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is not installed (apt-get install $2)"; exit 2; }; }
need wrk wrk
need curl curl

work=$(mktemp -d "${TMPDIR:-/tmp}/guestbook-${0##*/}-XXXXXX")
chmod 755 "$work"
pids=() postgres=""
finish() {
    local code=$? pid
    trap '' INT TERM
    for pid in "${pids[@]-}"; do
        [[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true
    done
    [[ -z $postgres ]] || as_server "$pg_ctl" -D "$work/postgres/data" -s -m immediate -w stop || true
    cd /
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The binary: built for release, or as the tests are in a smoke run.

profile=--release
[[ -z $smoke ]] || profile=
# built NAME ARGUMENTS: the executable of that name that cargo says it has built; a benchmark brings the program along.
built() {
    local name=$1
    shift
    cargo "$@" --message-format=json 2>"$work/build.log" |
        sed -n "s|.*\"executable\":\"\([^\"]*/$name\(-[0-9a-f]*\)\{0,1\}\)\".*|\1|p" | tail -1 ||
        { cat "$work/build.log" >&2; exit 1; }
}
say "building"
guestbook=${GUESTBOOK_GOALS_BINARY:-$(built guestbook build --locked --all-features --bin guestbook $profile)}
[[ -x $guestbook ]] || { cat "$work/build.log" >&2; say "the build failed"; exit 1; }

# Servers.

number=0
# start NAME COMMAND…: runs it with its output in a file of that name; sets `pid`.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.out" 2>"$work/$name.err" &
    pid=$!
    pids+=("$pid")
}

# serve FOLDER [ARGUMENTS…]: a guestbook; sets `url`, `pid`, and `ready_ms`, from its start to ready.
serve() {
    local folder=$1 began
    shift
    number=$((number + 1))
    began=$(date +%s%N)
    start "guestbook-$number" env -u DATABASE_URL -u CACHE_URL -u REDIS_URL -u GUESTBOOK_API_KEY \
        "$guestbook" --data-dir "$folder" --listen 127.0.0.1:0 --log warn "$@"
    until url=$(sed -n '1s/.*\(http:.*\)/\1/p' "$work/guestbook-$number.out") && [[ -n $url ]] &&
        curl -sf -o "$work/ready" "$url/readyz"; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/guestbook-$number.err" >&2; say "the server did not start"; exit 1; }
        sleep 0.002
    done
    ready_ms=$((($(date +%s%N) - began) / 1000000))
}

stop() {
    kill -TERM "$pid"
    wait "$pid" || true
}

fresh() { # an empty folder; sets `folder`
    number=$((number + 1))
    folder=$work/data-$number
}

# load CONNECTIONS SCRIPT URL: sets `rps`, `p99` and `bad`, the number of answers that were errors.
load() {
    local said
    said=$(wrk -t1 "-c$1" "-d${seconds}s" -s "$2" "$3" | grep '^rps')
    read -r _ rps _ _ _ p99 _ _ _ bad _ _ <<<"$said"
    p99=${p99%ms}
}
