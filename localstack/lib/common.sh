# shellcheck shell=bash
# Words that every other file here uses: messages, paths, locks, free ports, bounded waits.
# Nothing in this file installs or starts anything. Only bash and coreutils are assumed, because
# `up clamd` has to work on a machine that has neither Python nor Node.

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Paths end up unquoted in KEY=value lines and in clamd's configuration, so that a plain parser
# can read them. A path that would need quotes is refused here, once.
plain_path() {
  case $2 in
    *[!A-Za-z0-9._/+@,:=-]*) die "$1 is '$2': use a path without spaces or special characters (set $1)" ;;
    /*) ;;
    *) die "$1 is '$2': use an absolute path" ;;
  esac
}

LOCALSTACK_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${VESTIBULE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vestibule}
STATE=${VESTIBULE_STATE:-$LOCALSTACK_DIR/.state}
case $STATE in /*) ;; *) STATE=$PWD/$STATE ;; esac
case $CACHE in /*) ;; *) CACHE=$PWD/$CACHE ;; esac
plain_path VESTIBULE_CACHE "$CACHE"
plain_path VESTIBULE_STATE "$STATE"
LOGS=$STATE/logs
RUN=$STATE/run

make_directories() {
  mkdir -p "$CACHE" "$STATE" "$LOGS" "$RUN" "$STATE/env.d"
}

# Unix socket paths hold at most 107 bytes. A deep checkout gets a short private directory instead.
socket_directory() {
  local directory=$STATE/sock short
  if ((${#directory} > 80)); then
    short=$(printf '%s' "$STATE" | sha256sum | cut -c1-12)
    directory=${TMPDIR:-/tmp}/vestibule-$short
    ((${#directory} > 80)) && directory=/tmp/vestibule-$short
  fi
  printf '%s' "$directory"
}

# take_lock FD FILE SECONDS WHAT: an advisory lock held until this process ends. Started servers
# must not inherit the descriptor (see spawn), or the lock would outlive us.
take_lock() {
  local fd=$1 file=$2 seconds=$3 what=$4
  eval "exec $fd>>\"\$file\""
  flock -n "$fd" && return 0
  say "waiting for $what to finish"
  flock -w "$seconds" "$fd" || die "$what still holds $file after $seconds s"
}

# A short name for the contents of files: a changed lock file or template gets a new name.
fingerprint() { cat "$@" | sha256sum | cut -c1-12; }

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port PREFERRED: the usual port, or one below the ephemeral range when that one is taken.
free_port() {
  local port=$1 tries=0
  while port_taken "$port"; do
    ((++tries < 200)) || return 1
    port=$((20000 + RANDOM % 12000))
  done
  printf '%s' "$port"
}

# http_get PORT PATH: the raw answer of a plain HTTP server, at most 3 s. No curl needed.
http_get() {
  # shellcheck disable=SC2016
  timeout 3 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n" "$2" "$1" >&3
    cat <&3' _ "$1" "$2" 2>/dev/null
}

last_lines() {
  [ -s "$1" ] || return 0
  printf '  last lines of %s:\n' "$1" >&2
  tail -n 12 "$1" | cut -c1-400 | sed 's/^/  | /' >&2
}

# now_ms: milliseconds, for the timings that up prints.
now_ms() { date +%s%3N; }
took() { awk -v ms="$(($(now_ms) - $1))" 'BEGIN { printf "%.1f s", ms / 1000 }'; }
