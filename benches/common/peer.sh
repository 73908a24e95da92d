# For benches/goals, which sources it: the servers that Guestbook and the service it replaces are on in turn, and that one's stand-in.
# Sets `no_peer` and `no_servers`: why they cannot be measured here, if so.

find_program() {
    local found
    command -v "$1" && return
    for found in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        [[ -x $found/$1 ]] && printf '%s\n' "$found/$1" && return
    done
    return 1
}
as_server() {
    if [[ $EUID -ne 0 ]]; then
        "$@"
    elif command -v setpriv >/dev/null; then
        setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
    else
        runuser -u postgres -- "$@"
    fi
}
python=${GUESTBOOK_GOALS_PYTHON:-python3}
missing_for_servers() {
    local program
    for program in initdb pg_ctl psql redis-server; do
        find_program "$program" >/dev/null || { printf '%s is not installed' "$program"; return; }
    done
}
missing_for_peer() {
    "$python" -c 'import fastapi, psycopg2, redis, sqlalchemy, uvicorn' 2>/dev/null ||
        printf '%s lacks packages: pip install -r benches/peers/requirements.txt' "$python"
}
# Durable, as a team would run them: PostgreSQL as it comes, Redis with a log that is synced every second.
start_servers() {
    local attempt
    [[ -z $postgres ]] || return 0
    pg_ctl=$(find_program pg_ctl)
    mkdir "$work/postgres" "$work/redis"
    [[ $EUID -ne 0 ]] || chown postgres "$work/postgres"
    (cd "$work/postgres" && as_server "$(find_program initdb)" -A trust -U guestbook -E UTF8 --locale=C -D data) >"$work/initdb.out" 2>&1 ||
        { cat "$work/initdb.out" >&2; exit 1; }
    for attempt in {1..20}; do
        pg_port=$((11000 + RANDOM % 2000))
        (cd "$work/postgres" && as_server "$pg_ctl" -D data -l data/server.log -s -w \
            -o "-p $pg_port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$work/postgres' -c max_connections=200" start) \
            >"$work/pg_ctl.out" 2>&1 && postgres=1 && break
    done
    [[ -n $postgres ]] || { cat "$work/postgres/data/server.log" >&2; exit 1; }
    for attempt in {1..20}; do
        redis_port=$((13000 + RANDOM % 2000))
        start redis "$(find_program redis-server)" --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --appendonly yes \
            --appendfsync everysec --save ""
        sleep 0.5
        kill -0 "$pid" 2>/dev/null && break
    done
    pg=postgres://guestbook@127.0.0.1:$pg_port
}
database() { # an empty database; sets `name`
    number=$((number + 1))
    name=goals_$number
    "$(find_program psql)" -q -d "$pg/postgres" -c "CREATE DATABASE $name"
}
# The stand-in under load, in runs[peer]; once a round, for both lines that need it.
peer() {
    local port
    database
    port=$((15000 + RANDOM % 2000))
    start peer env SEED_PG="postgresql+psycopg2://guestbook@127.0.0.1:$pg_port/$name" SEED_REDIS="redis://127.0.0.1:$redis_port/1" \
        "$python" -m uvicorn --app-dir benches/peers seed_stack:app --workers 2 --port "$port" --log-level error --no-access-log
    until curl -s -o "$work/ready" "http://127.0.0.1:$port/v1/guest/chat/nobody"; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/peer.err" >&2; say "the stand-in did not start"; exit 1; }
        sleep 0.1
    done
    load 32 benches/post_chat.lua "http://127.0.0.1:$port"
    note peer "$rps"
    note peer_bad "$bad"
    stop
}

no_servers=$(missing_for_servers)
no_peer=$no_servers
[[ -n $no_peer ]] || no_peer=$(missing_for_peer)
