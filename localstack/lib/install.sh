# shellcheck shell=bash
# Installing what is missing, through apt-get, pip and npm as the machine has them configured.
# Each install lives in a directory named after its lock, and counts only once its .complete file
# exists: an interrupted install is thrown away, a changed lock gets a new directory.

# python_for localstack|any: the first interpreter that runs, has venv, and fits a lock.
# Prints "COMMAND VERSION". pyenv leaves stubs in PATH that do not run, hence the trial.
find_python() {
  local wanted=$1 candidate version
  for candidate in ${VESTIBULE_PYTHON:+"$VESTIBULE_PYTHON"} python3.11 python3.13 python3 /usr/bin/python3 python; do
    version=$("$candidate" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case $wanted:$version in
      localstack:3.11 | localstack:3.13 | any:3.1[0-9])
        printf '%s %s' "$candidate" "$version"
        return 0
        ;;
    esac
  done
  return 1
}

# install_venv DIRECTORY LOCK PYTHON
install_venv() {
  local directory=$1 lock=$2 python=$3 log=$LOGS/install-${1##*/}.log begun
  [ -f "$directory/.complete" ] && return 0
  begun=$(now_ms)
  say "installing $(basename "$lock" .lock) with pip (first time only)"
  rm -rf "$directory"
  # --no-deps: the lock is complete. Left to itself pip picks a set with which LocalStack fails.
  if ! { "$python" -m venv "$directory" && "$directory/bin/pip" install --no-deps -r "$lock"; } >"$log" 2>&1; then
    printf 'error: pip could not install %s\n' "$lock" >&2
    last_lines "$log"
    return 1
  fi
  touch "$directory/.complete"
  say "installed $(basename "$lock" .lock) in $(took "$begun")"
}

localstack_venv() {
  local python version lock
  if ! read -r python version < <(find_python localstack && echo); then
    printf '%s\n' "error: LocalStack needs Python 3.11 or 3.13 with the venv module; neither was found" \
      "  Debian: apt-get install python3 python3-venv; or set VESTIBULE_PYTHON to an interpreter" >&2
    return 1
  fi
  case $version in
    3.11) lock=$LOCALSTACK_DIR/locks/localstack-py311-4.13.1.lock ;;
    3.13) lock=$LOCALSTACK_DIR/locks/localstack-py313-2026.3.0.lock ;;
  esac
  LOCALSTACK_VERSION=${lock##*-}
  LOCALSTACK_VERSION=${LOCALSTACK_VERSION%.lock}
  LOCALSTACK_VENV=$CACHE/localstack-py${version/./}-$(fingerprint "$lock")
  LOCALSTACK_LOCK=$lock LOCALSTACK_PYTHON=$python
}

install_localstack() {
  localstack_venv || return 1
  install_venv "$LOCALSTACK_VENV" "$LOCALSTACK_LOCK" "$LOCALSTACK_PYTHON"
}

sdk_venv() {
  local python version lock=$LOCALSTACK_DIR/locks/sdk.lock
  if ! read -r python version < <(find_python any && echo); then
    printf '%s\n' "error: Python 3.10 or newer with the venv module was not found" \
      "  Debian: apt-get install python3 python3-venv; or set VESTIBULE_PYTHON to an interpreter" >&2
    return 1
  fi
  SDK_VENV=$CACHE/sdk-py${version/./}-$(fingerprint "$lock")
  SDK_LOCK=$lock SDK_BASE_PYTHON=$python SDK_PYTHON=$SDK_VENV/bin/python
}

install_sdk() {
  sdk_venv || return 1
  install_venv "$SDK_VENV" "$SDK_LOCK" "$SDK_BASE_PYTHON"
}

azurite_directory() { AZURITE_DIR=$CACHE/azurite-$(fingerprint "$LOCALSTACK_DIR/azurite/package-lock.json"); }

install_azurite() {
  azurite_directory
  install_npm "$AZURITE_DIR" "$LOCALSTACK_DIR/azurite" azurite
}

# install_npm DIRECTORY SOURCE NAME: what SOURCE/package-lock.json pins, into DIRECTORY/node_modules.
install_npm() {
  local directory=$1 source=$2 name=$3 log=$LOGS/install-${2##*/}.log begun
  [ -f "$directory/.complete" ] && return 0
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    printf '%s\n' "error: $name needs Node.js 20 or newer and npm; they were not found" \
      "  Debian: apt-get install nodejs npm, or install Node.js another way" >&2
    return 1
  fi
  begun=$(now_ms)
  say "installing $name with npm (first time only)"
  rm -rf "$directory"
  mkdir -p "$directory"
  cp "$source"/package*.json "$directory/"
  if ! (cd "$directory" && npm ci --omit=dev --no-audit --no-fund) >"$log" 2>&1; then
    printf 'error: npm could not install %s\n' "$name" >&2
    last_lines "$log"
    return 1
  fi
  touch "$directory/.complete"
  say "installed $name in $(took "$begun")"
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# apt_install LOG PACKAGE…: with apt-get, as root or by sudo. An old package list is the usual reason for a first failure: one
# update, one more try. False where it cannot, with the end of the log where it was tried. With RUNLEVEL=1 before it no
# service of a package is started.
apt_install() {
  local log=$1 begun
  shift
  command -v apt-get >/dev/null && { ((EUID == 0)) || command -v sudo >/dev/null; } || return 1
  begun=$(now_ms)
  say "installing $* with apt-get (first time only)"
  local install=(env DEBIAN_FRONTEND=noninteractive ${RUNLEVEL:+"RUNLEVEL=$RUNLEVEL"} apt-get
    -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@")
  if as_root "${install[@]}" >"$log" 2>&1 ||
    { as_root apt-get update && as_root "${install[@]}"; } >>"$log" 2>&1; then
    say "installed $* in $(took "$begun")"
    return 0
  fi
  last_lines "$log"
  return 1
}

CLAMD_PACKAGES=(clamav-daemon clamav-freshclam clamdscan clamav-testfiles)

# Debian keeps clamd in /usr/sbin, which is not in the PATH of ordinary users.
find_clamd() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v clamd; }

install_clamd() {
  local package missing=()
  if command -v dpkg-query >/dev/null; then
    for package in "${CLAMD_PACKAGES[@]}"; do
      [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
  elif ! find_clamd >/dev/null; then
    missing=("${CLAMD_PACKAGES[@]}")
  fi
  ((${#missing[@]})) || return 0
  apt_install "$LOGS/install-clamd.log" "${missing[@]}" && return 0
  if find_clamd >/dev/null; then
    warn "could not install ${missing[*]}; going on with the clamd that is here"
    return 0
  fi
  printf '%s\n' "error: clamd is missing and could not be installed" \
    "  as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  return 1
}
