# shellcheck shell=bash
# A private Redis on loopback that keeps nothing on disk. Tests use keys of their own, and start servers of their own to
# restart, kill or freeze them.

install_redis() {
  command -v redis-server >/dev/null && return 0
  apt_install "$LOGS/install-redis.log" redis-server && return 0
  printf '%s\n' "error: Redis is missing and could not be installed" \
    "  as root: apt-get install --no-install-recommends redis-server" >&2
  return 1
}

redis_ready() {
  # shellcheck disable=SC2016
  [ "$(timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "PING\r\n" >&3 && head -c 5 <&3' _ "$1" 2>/dev/null)" = +PONG ]
}

start_redis() {
  local bin key port begun
  bin=$(command -v redis-server) || return 1
  key=$(fingerprint "$LOCALSTACK_DIR/lib/redis.sh")
  if alive redis && [ "$(recorded redis key)" = "$key" ]; then
    port=$(recorded redis port)
    if redis_ready "$port"; then
      redis_line running "$bin" "$port"
      return 0
    fi
  fi
  stop_process redis || true
  begun=$(now_ms)
  mkdir -p "$STATE/redis"
  port=$(free_port 6379) || return 1
  spawn redis "$key" "port=$port" "$bin" --bind 127.0.0.1 --port "$port" --dir "$STATE/redis" --save '' \
    --appendonly no --maxmemory-policy noeviction
  wait_ready redis 20 redis_ready "$port" || return 1
  write_env redis "VESTIBULE_TEST_REDIS_URL=redis://127.0.0.1:$port/0" "VESTIBULE_TEST_REDIS_BIN=$bin"
  redis_line "started in $(took "$begun")" "$bin" "$port"
}

redis_line() {
  local version
  version=$("$2" --version)
  version=${version#*v=}
  say "redis      $1  ${version%% *}  127.0.0.1:$3  pid $(recorded redis pid)"
}
