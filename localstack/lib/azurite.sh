# shellcheck shell=bash
# Two Azurites: one for the account key over http (blob and queue), one over https that accepts
# bearer tokens, because user-delegation SAS exist only there. Both keep everything in memory.
# Deliberately absent: events. Azurite emits none; see emitter.py.

AZURITE_HOME=$STATE/azurite
AZURITE_ACCOUNT=devstoreaccount1
# The well-known development key, the same in every Azurite and in Microsoft's documentation.
AZURITE_KEY='Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

# A private authority and a server certificate below it. One self-signed certificate would not do:
# openssl marks it as an authority, and rustls refuses an authority in the place of a server.
make_certificates() {
  local d=$AZURITE_HOME/tls
  # Both are checked: a new authority without a new server certificate would be of no use.
  if openssl x509 -checkend 604800 -noout -in "$d/server.pem" >/dev/null 2>&1 &&
    openssl x509 -checkend 604800 -noout -in "$d/ca.pem" >/dev/null 2>&1; then
    return 0
  fi
  rm -rf "$d"
  (umask 077 && mkdir -p "$d")
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
      -subj '/CN=Vestibule test authority' -keyout "$d/ca-key.pem" -out "$d/ca.pem" \
      -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' &&
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=localhost' \
        -keyout "$d/server-key.pem" -out "$d/server.csr" &&
      printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'extendedKeyUsage=serverAuth' \
        'subjectAltName=IP:127.0.0.1,DNS:localhost' >"$d/server.ext" &&
      openssl x509 -req -days 800 -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca-key.pem" \
        -CAcreateserial -extfile "$d/server.ext" -out "$d/server.pem"
  } >"$LOGS/openssl.log" 2>&1 || {
    printf 'error: openssl could not make the certificates\n' >&2
    last_lines "$LOGS/openssl.log"
    return 1
  }
}

azurite_blob_ready() { [[ $(http_get "$1" "/$AZURITE_ACCOUNT?comp=list") == *Azurite-Blob* ]]; }
azurite_queue_ready() { [[ $(http_get "$1" "/$AZURITE_ACCOUNT?comp=list") == *Azurite-Queue* ]]; }
azurite_ready() { azurite_blob_ready "$1" && azurite_queue_ready "$2"; }

azurite_oauth_ready() {
  timeout 3 openssl s_client -connect "127.0.0.1:$1" -CAfile "$AZURITE_HOME/tls/ca.pem" \
    -verify_return_error </dev/null >/dev/null 2>&1
}

azurite_version() { sed -n 's/.*"azurite": "\([^"]*\)".*/\1/p' "$LOCALSTACK_DIR/azurite/package.json"; }

start_azurite() {
  azurite_directory
  sdk_venv || return 1
  mkdir -p "$AZURITE_HOME"
  make_certificates || return 1
  start_azurite_http && start_azurite_oauth
}

start_azurite_http() {
  local key blob queue begun state
  key=$(fingerprint "$LOCALSTACK_DIR/azurite/package-lock.json" "$LOCALSTACK_DIR/lib/azurite.sh")
  blob=$(recorded azurite blob) || blob=
  queue=$(recorded azurite queue) || queue=
  begun=$(now_ms)
  if alive azurite && [ "$(recorded azurite key)" = "$key" ] && azurite_ready "$blob" "$queue"; then
    state=running
  else
    stop_process azurite || true
    blob=$(free_port 10000) && queue=$(free_port 10001) || return 1
    # Without the table port 0 it would insist on 10002, which nobody here needs.
    spawn azurite "$key" "blob=$blob queue=$queue" "$AZURITE_DIR/node_modules/.bin/azurite" \
      --blobHost 127.0.0.1 --blobPort "$blob" --queueHost 127.0.0.1 --queuePort "$queue" \
      --tableHost 127.0.0.1 --tablePort 0 \
      --inMemoryPersistence --silent --skipApiVersionCheck --disableTelemetry
    wait_ready azurite 30 azurite_ready "$blob" "$queue" || return 1
    state="started in $(took "$begun")"
  fi
  write_env azurite "VESTIBULE_TEST_AZURITE_BLOB=http://127.0.0.1:$blob/$AZURITE_ACCOUNT" \
    "VESTIBULE_TEST_AZURITE_QUEUE=http://127.0.0.1:$queue/$AZURITE_ACCOUNT" \
    "VESTIBULE_TEST_AZURITE_ACCOUNT=$AZURITE_ACCOUNT" "VESTIBULE_TEST_AZURITE_KEY=$AZURITE_KEY"
  # Every time, also when it was running: a test may have deleted the container.
  if ! "$SDK_PYTHON" "$LOCALSTACK_DIR/azurite/provision.py" --key "$AZURITE_KEY" \
    --blob "http://127.0.0.1:$blob/$AZURITE_ACCOUNT" --queue "http://127.0.0.1:$queue/$AZURITE_ACCOUNT" \
    >"$LOGS/azurite-provision.log" 2>&1; then
    printf 'error: the Azurite container and queue could not be created\n' >&2
    last_lines "$LOGS/azurite-provision.log"
    return 1
  fi
  say "azurite    $state  $(azurite_version)  blob 127.0.0.1:$blob  queue 127.0.0.1:$queue  pid $(recorded azurite pid)"
}

start_azurite_oauth() {
  local key port begun state
  key=$(fingerprint "$LOCALSTACK_DIR/azurite/package-lock.json" "$LOCALSTACK_DIR/lib/azurite.sh" "$AZURITE_HOME/tls/server.pem")
  port=$(recorded azurite-oauth port) || port=
  begun=$(now_ms)
  if alive azurite-oauth && [ "$(recorded azurite-oauth key)" = "$key" ] && azurite_oauth_ready "$port"; then
    state=running
  else
    stop_process azurite-oauth || true
    port=$(free_port 10010) || return 1
    spawn azurite-oauth "$key" "port=$port" "$AZURITE_DIR/node_modules/.bin/azurite-blob" \
      --blobHost 127.0.0.1 --blobPort "$port" --oauth basic \
      --cert "$AZURITE_HOME/tls/server.pem" --key "$AZURITE_HOME/tls/server-key.pem" \
      --inMemoryPersistence --silent --skipApiVersionCheck --disableTelemetry
    wait_ready azurite-oauth 30 azurite_oauth_ready "$port" || return 1
    state="started in $(took "$begun")"
  fi
  write_env azurite-oauth "VESTIBULE_TEST_AZURITE_OAUTH_BLOB=https://127.0.0.1:$port/$AZURITE_ACCOUNT" \
    "VESTIBULE_TEST_AZURITE_CA=$AZURITE_HOME/tls/ca.pem"
  say "azurite    $state  $(azurite_version)  https, bearer tokens 127.0.0.1:$port  pid $(recorded azurite-oauth pid)"
}
