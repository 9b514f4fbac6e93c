# shellcheck shell=bash
# Starting, recognising and ending background processes.
# Invariant: a signal is only ever sent to a process that `up` started. A record holds the pid and
# the kernel's start time of it; when the two no longer agree the pid belongs to somebody else.

# Fields of /proc/PID/stat after the command name: 1 is the state, 20 the start time.
_stat_fields() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  printf '%s' "${stat##*) }"
}

start_time_of() {
  local fields
  fields=$(_stat_fields "$1") || return 1
  # shellcheck disable=SC2086
  set -- $fields
  [ "$1" != Z ] || return 1
  printf '%s' "${20}"
}

# recorded NAME FIELD: pid, started, key, port or address out of the record of NAME.
recorded() {
  local line
  [ -f "$RUN/$1" ] || return 1
  while IFS= read -r line; do
    if [ "${line%%=*}" = "$2" ]; then
      printf '%s' "${line#*=}"
      return 0
    fi
  done <"$RUN/$1"
  return 1
}

alive() {
  local pid started
  pid=$(recorded "$1" pid) && started=$(recorded "$1" started) || return 1
  [ "$(start_time_of "$pid")" = "$started" ]
}

# spawn NAME KEY FIELDS COMMAND…: starts COMMAND in a session of its own, so that Ctrl-C in the
# terminal leaves it running, and records it. FIELDS is "port=4566 …", kept for the next `up`.
spawn() {
  local name=$1 key=$2 fields=$3 pid started
  shift 3
  setsid "$@" </dev/null >"$LOGS/$name.log" 2>&1 7>&- 8>&- 9>&- &
  pid=$!
  started=$(start_time_of "$pid") || started=0
  {
    printf 'pid=%s\nstarted=%s\nkey=%s\n' "$pid" "$started" "$key"
    # shellcheck disable=SC2086
    printf '%s\n' $fields
  } >"$RUN/.$name.tmp"
  mv "$RUN/.$name.tmp" "$RUN/$name"
}

# wait_ready NAME SECONDS CHECK…: until CHECK succeeds, the process dies or the time is over.
wait_ready() {
  local name=$1 seconds=$2 end
  shift 2
  end=$(($(now_ms) + seconds * 1000))
  while ! "$@"; do
    if ! alive "$name"; then
      printf 'error: %s ended while it was starting\n' "$name" >&2
      last_lines "$LOGS/$name.log"
      rm -f "$RUN/$name"
      return 1
    fi
    if (($(now_ms) > end)); then
      printf 'error: %s was not ready after %s s\n' "$name" "$seconds" >&2
      last_lines "$LOGS/$name.log"
      stop_process "$name"
      return 1
    fi
    sleep 0.1
  done
}

# stop_process NAME: SIGTERM to its whole session, SIGKILL after 3 s (LocalStack often needs it).
stop_process() {
  local name=$1 pid end
  if ! alive "$name"; then
    rm -f "$RUN/$name"
    return 1
  fi
  pid=$(recorded "$name" pid)
  kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
  end=$(($(now_ms) + 3000))
  while alive "$name" && (($(now_ms) < end)); do sleep 0.05; done
  # Children may outlive their leader: the group is signalled whether or not the leader is gone.
  kill -KILL -- "-$pid" 2>/dev/null || true
  end=$(($(now_ms) + 2000))
  while alive "$name" && (($(now_ms) < end)); do sleep 0.05; done
  rm -f "$RUN/$name"
}

# SIGINT is PostgreSQL's fast shutdown; to SIGTERM it would wait until every client has left.
stop_postgres() {
  local end
  if alive postgres; then
    kill -INT "$(recorded postgres pid)" 2>/dev/null || true
    end=$(($(now_ms) + 5000))
    while alive postgres && (($(now_ms) < end)); do sleep 0.05; done
  fi
  if alive postgres || [ ! -f "$RUN/postgres" ]; then stop_process postgres; else rm -f "$RUN/postgres"; fi
  local stopped=$?
  if [ -L "$STATE/postgres" ]; then rm -rf "$(readlink "$STATE/postgres")" "$STATE/postgres"; fi
  return "$stopped"
}
