#!/bin/bash
# preStop of an Envoy: asks clients to go elsewhere, and returns when no request is left. Envoy's image has no curl.
# Usage: drain.sh ADMIN_PORT LONGEST_SECONDS
set -u
port=$1
deadline=$((SECONDS + $2))

ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf '%s %s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" "$2" >&3
  cat <&3
  exec 3>&- 3<&-
}

# Every answer now closes its connection (HTTP/2: GOAWAY); new ones are still served until the pod's address is gone
# everywhere, for which five seconds are many.
ask POST /healthcheck/fail >/dev/null
sleep 5
while [ "$SECONDS" -lt "$deadline" ]; do
  active=$(ask GET '/stats?filter=^http.requests.downstream_rq_active$' | tr -d '\r' | sed -n 's/^http\.requests\.downstream_rq_active: //p')
  [ "${active:-1}" = 0 ] && exit 0
  sleep 1
done
exit 0
