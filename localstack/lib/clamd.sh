# shellcheck shell=bash
# clamd with its own configuration, signatures and directories; the machine's clamd is left alone.
# Needs only the Debian packages: `up clamd` works without Python and Node.
# Deliberately absent: a file with the EICAR text. It is put together at run time, from pieces, so
# that no scanner of a developer's machine ever objects to the checkout.

CLAMD_HOME=$STATE/clamd
FRESHCLAM_DATABASE=$CACHE/clamav

# shellcheck disable=SC2016
eicar() { printf '%s%s%s%s' "X5O!P%@AP[4\\PZX54(P^)7CC)7}\$" 'EICAR-STANDARD-' 'ANTIVIRUS-TEST-' 'FILE!$H+H*'; }

# A second, quite harmless "infected" file, known by its SHA-256 only (see README.md).
harmless() { printf '%s\n' 'vestibule harmless test malware'; }

# write_signatures DIRECTORY: .ndb finds the text anywhere, also inside archives; .hsb an exact file.
write_signatures() {
  local hex sum size
  mkdir -p "$1"
  hex=$(eicar | od -An -v -tx1 | tr -d ' \n')
  printf 'Test.EICAR:0:*:%s\n' "$hex" >"$1/vestibule.ndb"
  sum=$(harmless | sha256sum | cut -d' ' -f1)
  size=$(harmless | wc -c)
  printf '%s:%d:Test.Harmless:73\n' "$sum" "$size" >"$1/vestibule.hsb"
}

# Where AppArmor is active, Debian's profile keeps /usr/sbin/clamd and /usr/bin/freshclam away from
# our directories. A profile goes by path, so that a private copy of the program is not under it.
runnable() {
  local program=$1
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    mkdir -p "$CACHE/clamav-bin"
    cp -u "$program" "$CACHE/clamav-bin/"
    program=$CACHE/clamav-bin/${program##*/}
  fi
  printf '%s' "$program"
}

have_database() {
  compgen -G "$FRESHCLAM_DATABASE/main.c[vl]d" >/dev/null && compgen -G "$FRESHCLAM_DATABASE/daily.c[vl]d" >/dev/null
}

younger_than_a_day() { [ -n "$(find "$1" -maxdepth 0 -mmin -1440 2>/dev/null)" ]; }

# Tries freshclam within a bounded time. A failure is remembered for a day, so that a machine
# without a network waits once. VESTIBULE_FRESHCLAM: 0 never, 1 try now, unset as described.
refresh_database() {
  local program seconds=${VESTIBULE_FRESHCLAM_SECONDS:-20}
  [ "${VESTIBULE_FRESHCLAM:-}" = 0 ] && return 1
  have_database && younger_than_a_day "$FRESHCLAM_DATABASE/.refreshed" && return 0
  if [ "${VESTIBULE_FRESHCLAM:-}" != 1 ] && younger_than_a_day "$CLAMD_HOME/freshclam-failed"; then
    have_database
    return
  fi
  program=$(PATH=$PATH:/usr/sbin command -v freshclam) || return 1
  program=$(runnable "$program")
  mkdir -p "$FRESHCLAM_DATABASE"
  sed -e "s|@DATABASE@|$FRESHCLAM_DATABASE|" -e "s|@OWNER@|$(id -un)|" \
    "$LOCALSTACK_DIR/clamd/freshclam.conf.in" >"$CLAMD_HOME/freshclam.conf"
  if timeout -k 2 "$seconds" "$program" --config-file="$CLAMD_HOME/freshclam.conf" \
    >"$LOGS/freshclam.log" 2>&1 </dev/null 7>&- 8>&- 9>&- && have_database; then
    touch "$FRESHCLAM_DATABASE/.refreshed"
    rm -f "$CLAMD_HOME/freshclam-failed"
    return 0
  fi
  touch "$CLAMD_HOME/freshclam-failed"
  have_database
}

# INSTREAM writes each stream to a file. Memory is the better place, but in a container /dev/shm is
# often 64 MiB, which makes large scans fail: it has to have room for two streams of 2 GiB.
scratch_directory() {
  local free
  free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) || free=0
  if [ -w /dev/shm ] && ((${free:-0} > 4 * 1024 * 1024)); then
    printf '/dev/shm'
  else
    mkdir -p "$CLAMD_HOME/tmp"
    printf '%s' "$CLAMD_HOME/tmp"
  fi
}

# clamd_ask PORT COMMAND: one command in clamd's null-terminated form, e.g. PING → PONG.
clamd_ask() {
  # shellcheck disable=SC2016
  timeout 3 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf "z%s\0" "$2" >&3
    IFS= read -r -d "" answer <&3; printf "%s" "$answer"' _ "$1" "$2" 2>/dev/null
}

clamd_answers() { [ "$(clamd_ask "$1" PING)" = PONG ] && [ -S "$2" ]; }

clamd_line() {
  local version database=$4
  version=$(clamd_ask "$2" VERSION)
  version=${version#ClamAV }
  [ "$database" = local ] && database='local signatures only (EICAR and one harmless text)'
  [ "$database" = freshclam ] && database="freshclam's signatures and ours"
  say "clamd      $1  ${version%%/*}  127.0.0.1:$2  $3  pid $(recorded clamd pid)  $database"
}

start_clamd() {
  local key port socket directory database database_directory program begun
  key=$(fingerprint "$LOCALSTACK_DIR/clamd/clamd.conf.in" "$LOCALSTACK_DIR/lib/clamd.sh")
  directory=$(socket_directory)
  socket=$directory/clamd.sock
  if alive clamd && [ "$(recorded clamd key)" = "$key" ]; then
    port=$(recorded clamd port) database=$(recorded clamd database)
    case ${VESTIBULE_FRESHCLAM:-}:$database in
      0:freshclam | 1:local) ;; # asked for the other database: start again
      *)
        if clamd_answers "$port" "$socket"; then
          clamd_line running "$port" "$socket" "$database"
          return 0
        fi
        ;;
    esac
  fi
  stop_process clamd || true
  begun=$(now_ms)
  mkdir -p "$CLAMD_HOME"
  (umask 077 && mkdir -p "$directory")
  rm -f "$socket"
  program=$(find_clamd) || {
    printf 'error: clamd is not installed\n' >&2
    return 1
  }
  program=$(runnable "$program")
  if refresh_database; then
    database=freshclam
    write_signatures "$FRESHCLAM_DATABASE"
    database_directory=$FRESHCLAM_DATABASE
  else
    database=local
    database_directory=$CLAMD_HOME/db
    rm -rf "$database_directory"
    write_signatures "$database_directory"
  fi
  port=$(free_port 3310) || return 1
  sed -e "s|@PORT@|$port|" -e "s|@SOCKET@|$socket|" -e "s|@DATABASE@|$database_directory|" \
    -e "s|@TEMPORARY@|$(scratch_directory)|" "$LOCALSTACK_DIR/clamd/clamd.conf.in" >"$CLAMD_HOME/clamd.conf"
  spawn clamd "$key" "port=$port socket=$socket database=$database" \
    "$program" --config-file="$CLAMD_HOME/clamd.conf"
  # 120 s: with freshclam's database clamd loads eight million signatures before it listens.
  wait_ready clamd 120 clamd_answers "$port" "$socket" || return 1
  write_env clamd "VESTIBULE_TEST_CLAMD_TCP=127.0.0.1:$port" "VESTIBULE_TEST_CLAMD_SOCKET=$socket" \
    "VESTIBULE_TEST_CLAMD_DATABASE=$database"
  clamd_line "started in $(took "$begun")" "$port" "$socket" "$database"
}
