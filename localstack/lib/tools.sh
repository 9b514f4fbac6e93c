# shellcheck shell=bash
# What only the chaos suite needs: a plain TCP balancer, a library that moves a process's clock, a Python environment.
# Debian's packages; nothing of them is started here, and services that a package would start are not wanted.

# install_package FILE PACKAGE: unless FILE (a program's or a library's path) is there already.
install_package() {
  local package=$2
  [ -e "$1" ] && return 0
  RUNLEVEL=1 apt_install "$LOGS/install-$2.log" "$package" || true
  [ -e "$1" ] && return 0
  printf '%s\n' "error: $package is missing and could not be installed" \
    "  as root: apt-get install --no-install-recommends $package" >&2
  return 1
}

install_tools() {
  CHAOS_HAPROXY=/usr/sbin/haproxy
  CHAOS_FAKETIME=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
  install_package "$CHAOS_HAPROXY" haproxy && install_package "$CHAOS_FAKETIME" libfaketime
}

install_chaos() {
  local python version lock=$LOCALSTACK_DIR/locks/chaos.lock
  if ! read -r python version < <(find_python any && echo); then
    printf '%s\n' "error: Python 3.10 or newer with the venv module was not found" >&2
    return 1
  fi
  CHAOS_VENV=$CACHE/chaos-py${version/./}-$(fingerprint "$lock")
  CHAOS_PYTHON=$CHAOS_VENV/bin/python
  install_venv "$CHAOS_VENV" "$lock" "$python"
}
