# shellcheck shell=bash
# The stand-in for Event Grid (emitter.py) on the documented container and queue.

emitter_ready() { grep -q '^watching ' "$LOGS/emitter.log" 2>/dev/null; }

start_emitter() {
  local key blob queue begun
  sdk_venv || return 1
  if ! { blob=$(recorded azurite blob) && queue=$(recorded azurite queue); }; then
    printf 'error: the emitter needs azurite, which is not running\n' >&2
    return 1
  fi
  key=$(fingerprint "$LOCALSTACK_DIR/emitter.py" "$LOCALSTACK_DIR/lib/emitter.sh")-$blob-$queue
  if alive emitter && [ "$(recorded emitter key)" = "$key" ]; then
    say "emitter    running  vestibule-clinic → vestibule-clinic-events  pid $(recorded emitter pid)"
    return 0
  fi
  stop_process emitter || true
  begun=$(now_ms)
  : >"$LOGS/emitter.log"
  spawn emitter "$key" "" "$SDK_PYTHON" -u "$LOCALSTACK_DIR/emitter.py" \
    --account-url "http://127.0.0.1:$blob/$AZURITE_ACCOUNT" \
    --queue-url "http://127.0.0.1:$queue/$AZURITE_ACCOUNT" --key "$AZURITE_KEY" \
    --container vestibule-clinic --queue vestibule-clinic-events --interval 0.5
  wait_ready emitter 15 emitter_ready || return 1
  say "emitter    started in $(took "$begun")  stand-in for Event Grid, vestibule-clinic → vestibule-clinic-events  pid $(recorded emitter pid)"
}
