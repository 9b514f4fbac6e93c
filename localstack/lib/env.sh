# shellcheck shell=bash
# The env file that tests read. Each component owns a fragment in env.d; the file is their sum, so
# that `up clamd` neither loses nor invents the lines of the others. Plain KEY=value, no quotes.

# write_env COMPONENT LINE…
write_env() {
  local component=$1
  shift
  printf '%s\n' "$@" >"$STATE/env.d/.$component.tmp"
  mv "$STATE/env.d/.$component.tmp" "$STATE/env.d/$component"
}

drop_env() { rm -f "$STATE/env.d/$1"; }

assemble_env() {
  local fragment
  {
    for fragment in "$STATE"/env.d/*; do
      [ -f "$fragment" ] && cat "$fragment"
    done
    true
  } >"$STATE/.env.tmp"
  if [ -s "$STATE/.env.tmp" ]; then
    mv "$STATE/.env.tmp" "$STATE/env"
  else
    rm -f "$STATE/.env.tmp" "$STATE/env"
  fi
}
