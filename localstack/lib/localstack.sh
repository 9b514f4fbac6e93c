# shellcheck shell=bash
# LocalStack from a Python venv, without a container engine, on loopback, checking signatures.
# Nothing persists: buckets and queues are new after every start, made by init/ready.d.

LOCALSTACK_HOME=$STATE/localstack

# Ready means that every init hook has run, and none of them failed.
localstack_ready() {
  local answer
  answer=$(http_get "$1" /_localstack/init/ready) || return 1
  case $answer in
    *'"completed": true'*) [[ $answer != *'"ERROR"'* ]] ;;
    *) return 1 ;;
  esac
}

localstack_env() {
  local endpoint=http://127.0.0.1:$1 region=eu-central-1
  local queues=$endpoint/queue/$region/000000000000
  write_env localstack "VESTIBULE_TEST_S3_ENDPOINT=$endpoint" "VESTIBULE_TEST_S3_REGION=$region" \
    "VESTIBULE_TEST_SQS_QUEUE_DIRECT=$queues/vestibule-events" \
    "VESTIBULE_TEST_SQS_QUEUE_SNS=$queues/vestibule-events-sns" \
    "VESTIBULE_TEST_SQS_QUEUE_EVENTBRIDGE=$queues/vestibule-events-eventbridge"
}

start_localstack() {
  local key port begun root=$LOCALSTACK_HOME/fs
  localstack_venv || return 1
  key=$(fingerprint "$LOCALSTACK_LOCK" "$LOCALSTACK_DIR"/init/ready.d/*.py "$LOCALSTACK_DIR/lib/localstack.sh")
  if alive localstack && [ "$(recorded localstack key)" = "$key" ]; then
    port=$(recorded localstack port)
    if localstack_ready "$port"; then
      say "localstack running  $LOCALSTACK_VERSION  http://127.0.0.1:$port  pid $(recorded localstack pid)"
      return 0
    fi
  fi
  stop_process localstack || true
  begun=$(now_ms)
  # The cache below $root/var stays (it halves the start); objects of the last run do not.
  rm -rf "${LOCALSTACK_HOME:?}/tmp" "${root:?}/etc"
  mkdir -p "$root/etc/localstack/init" "$LOCALSTACK_HOME/tmp"
  cp -R "$LOCALSTACK_DIR/init/ready.d" "$root/etc/localstack/init/"
  port=$(free_port 4566) || return 1
  # GATEWAY_SERVER: the default server ignores the host and binds 0.0.0.0.
  # S3_SKIP_SIGNATURE_VALIDATION: by default neither signature nor expiry is checked.
  # TEMP: large objects spill into temporary files, which a SIGKILL would leave behind in /tmp.
  # SQS_ENDPOINT_STRATEGY: the default queue URLs carry a name that needs DNS.
  # PYTHONDONTWRITEBYTECODE unset: cached bytecode makes 10 s to start into 3 s.
  spawn localstack "$key" "port=$port" env -u PYTHONDONTWRITEBYTECODE -u AWS_PROFILE -u PYTHONPATH \
    FILESYSTEM_ROOT="$root" TEMP="$LOCALSTACK_HOME/tmp" \
    SERVICES=s3,sqs,sns,sts,iam,events STRICT_SERVICE_LOADING=1 EAGER_SERVICE_LOADING=0 \
    GATEWAY_LISTEN="127.0.0.1:$port" LOCALSTACK_HOST="127.0.0.1:$port" GATEWAY_SERVER=hypercorn \
    S3_SKIP_SIGNATURE_VALIDATION=0 SQS_ENDPOINT_STRATEGY=path OVERRIDE_IN_DOCKER=0 DNS_ADDRESS=0 \
    DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 LS_LOG="${LS_LOG:-info}" \
    "$LOCALSTACK_VENV/bin/python" -m localstack.runtime.main
  wait_ready localstack 90 localstack_ready "$port" || return 1
  localstack_env "$port"
  say "localstack started in $(took "$begun")  $LOCALSTACK_VERSION  http://127.0.0.1:$port  pid $(recorded localstack pid)"
}
