# shellcheck shell=bash
# An OpenID provider on loopback with which anybody can log in as anybody, and what goes with it: the Node packages of
# independent clients, and Chromium, in which the analyst's page is tried out. Nothing is kept on disk.

oidc_directory() { OIDC_DIR=$CACHE/oidc-$(fingerprint "$LOCALSTACK_DIR/oidc/package-lock.json"); }

install_oidc() {
  oidc_directory
  install_npm "$OIDC_DIR" "$LOCALSTACK_DIR/oidc" "the OpenID provider and its clients" && install_chromium &&
    install_snippet_tools
}

find_chromium() {
  local candidate
  for candidate in ${VESTIBULE_CHROMIUM:+"$VESTIBULE_CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$candidate" && return 0
  done
  return 1
}

install_chromium() {
  find_chromium >/dev/null && return 0
  apt_install "$LOGS/install-chromium.log" chromium && return 0
  printf '%s\n' "error: Chromium is missing and could not be installed" \
    "  as root: apt-get install --no-install-recommends chromium; or set VESTIBULE_CHROMIUM to a Chromium or Chrome" >&2
  return 1
}

# What the snippets of docs/identity.md call, which tests run.
install_snippet_tools() {
  local tool missing=()
  for tool in curl jq; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  ((${#missing[@]})) || return 0
  apt_install "$LOGS/install-snippet-tools.log" "${missing[@]}" && return 0
  printf '%s\n' "error: ${missing[*]} could not be installed" \
    "  as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  return 1
}

oidc_ready() { [[ $(http_get "$1" /.well-known/openid-configuration) == *authorization_endpoint* ]]; }

start_oidc() {
  local key port home=$STATE/oidc begun
  oidc_directory
  key=$(fingerprint "$LOCALSTACK_DIR"/oidc/*.mjs "$LOCALSTACK_DIR/oidc/package-lock.json" "$LOCALSTACK_DIR/lib/oidc.sh")
  if alive oidc && [ "$(recorded oidc key)" = "$key" ]; then
    port=$(recorded oidc port)
    if oidc_ready "$port"; then
      oidc_env "$home" "$port"
      oidc_line running "$port"
      return 0
    fi
  fi
  stop_process oidc || true
  begun=$(now_ms)
  # Node looks for packages beside the program, and they are in the cache.
  rm -rf "$home"
  mkdir -p "$home"
  cp "$LOCALSTACK_DIR"/oidc/*.mjs "$home/"
  ln -s "$OIDC_DIR/node_modules" "$home/node_modules"
  port=$(free_port 4400) || return 1
  spawn oidc "$key" "port=$port" node "$home/provider.mjs" --port "$port"
  wait_ready oidc 30 oidc_ready "$port" || return 1
  oidc_env "$home" "$port"
  oidc_line "started in $(took "$begun")" "$port"
}

oidc_env() {
  write_env oidc "VESTIBULE_TEST_OIDC_ISSUER=http://127.0.0.1:$2" "VESTIBULE_TEST_OIDC_HOME=$1" \
    "VESTIBULE_TEST_CHROMIUM=$(find_chromium)"
}

oidc_line() {
  local version
  version=$(sed -n 's/.*"oidc-provider": "\([^"]*\)".*/\1/p' "$LOCALSTACK_DIR/oidc/package.json")
  say "oidc       $1  oidc-provider $version  http://127.0.0.1:$2  pid $(recorded oidc pid)"
}
