# shellcheck shell=bash
# A private PostgreSQL: a cluster of its own, new at every start, on loopback, with fsync as in production.
# PostgreSQL refuses to run as root; then it runs as the user postgres, which Debian's package makes.
# Tests make a database of their own each, and start servers of their own to restart, kill or freeze them.

POSTGRES_HOME=$STATE/postgres

# The newest installation in Debian's place, or what is in the PATH.
postgres_directory() {
  local directory
  for directory in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    if [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ]; then
      printf '%s' "$directory"
      return 0
    fi
  done
  directory=$(command -v initdb) && directory=$(dirname "$(readlink -f "$directory")") &&
    [ -x "$directory/postgres" ] && printf '%s' "$directory"
}

install_postgres() {
  postgres_directory >/dev/null && return 0
  # The package would start a cluster of the machine's own; ours is made by start_postgres.
  apt_install "$LOGS/install-postgres.log" postgresql-15 postgresql-client-15 && return 0
  printf '%s\n' "error: PostgreSQL is missing and could not be installed" \
    "  as root: apt-get install --no-install-recommends postgresql-15 postgresql-client-15" >&2
  return 1
}

# as_postgres COMMAND…: replaces this shell, so that the recorded process is the server itself.
as_postgres() {
  if ((EUID == 0)); then
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
  else
    exec "$@"
  fi
}

# place_postgres: an empty directory that the server's user can write, as $POSTGRES_HOME. Where that user cannot walk to the
# state directory (a home of root's, a directory made by mktemp) it is a link to one under /tmp; stop_postgres removes both.
place_postgres() {
  local elsewhere
  rm -rf "${POSTGRES_HOME:?}"
  mkdir -p "$POSTGRES_HOME"
  ((EUID == 0)) || return 0
  chown postgres: "$POSTGRES_HOME"
  (as_postgres test -w "$POSTGRES_HOME") && return 0
  elsewhere=$(mktemp -d /tmp/vestibule-postgres.XXXXXX) && chown postgres: "$elsewhere" &&
    rmdir "$POSTGRES_HOME" && ln -s "$elsewhere" "$POSTGRES_HOME" && (as_postgres test -w "$elsewhere") && return 0
  printf 'error: the user postgres can reach neither %s nor /tmp: set VESTIBULE_STATE to a place that it can\n' "$STATE" >&2
  return 1
}

postgres_ready() { "$1/pg_isready" -q -h 127.0.0.1 -p "$2" -d postgres; }

start_postgres() {
  local bin key port begun directory home data
  bin=$(postgres_directory) || return 1
  key=$(fingerprint "$LOCALSTACK_DIR/lib/postgres.sh")
  if alive postgres && [ "$(recorded postgres key)" = "$key" ]; then
    port=$(recorded postgres port)
    if postgres_ready "$bin" "$port"; then
      postgres_line running "$bin" "$port"
      return 0
    fi
  fi
  stop_postgres || true
  begun=$(now_ms)
  place_postgres || return 1
  home=$(readlink -f "$POSTGRES_HOME")
  data=$home/data
  (printf 'vestibule\n' >"$home/password" && cd "$home" &&
    as_postgres "$bin/initdb" -D "$data" -U vestibule --pwfile="$home/password" --auth=scram-sha-256 \
      --encoding=UTF8 --locale=C.UTF-8) >"$LOGS/initdb.log" 2>&1 || {
    printf 'error: initdb failed\n' >&2
    last_lines "$LOGS/initdb.log"
    return 1
  }
  port=$(free_port 5432) || return 1
  directory=$(pwd)
  cd "$home" || return 1
  local command=("$bin/postgres" -D "$data" -c listen_addresses=127.0.0.1 -c "port=$port" -c unix_socket_directories=
    -c max_connections=300 -c fsync=on -c log_min_messages=warning)
  if ((EUID == 0)); then
    spawn postgres "$key" "port=$port" setpriv --reuid=postgres --regid=postgres --init-groups "${command[@]}"
  else
    spawn postgres "$key" "port=$port" "${command[@]}"
  fi
  cd "$directory" || return 1
  wait_ready postgres 60 postgres_ready "$bin" "$port" || return 1
  write_env postgres "VESTIBULE_TEST_POSTGRES_URL=postgres://vestibule:vestibule@127.0.0.1:$port/postgres" \
    "VESTIBULE_TEST_POSTGRES_BIN=$bin"
  postgres_line "started in $(took "$begun")" "$bin" "$port"
}

postgres_line() {
  local version
  version=$("$2/postgres" --version)
  version=${version#postgres (PostgreSQL) }
  say "postgres   $1  ${version%% *}  127.0.0.1:$3  pid $(recorded postgres pid)"
}
