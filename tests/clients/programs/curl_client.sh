#!/usr/bin/env bash
# A SCIM client on curl: `curl_client.sh BASE TOKEN STEPS`; see test_clients.py for steps and answers.
set -euo pipefail
id=
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
while IFS=$'\x1f' read -r method path body framing; do
    options=(--silent --show-error --compressed -D "$room/head" -o "$room/body" -H "Authorization: Bearer $2")
    if [[ $method == HEAD ]]; then options+=(--head); else options+=(-X "$method"); fi
    if [[ -n $body ]]; then options+=(-H "Content-Type: application/scim+json" --data-binary "$body"); fi
    if [[ $framing == chunked ]]; then options+=(-H "Transfer-Encoding: chunked"); fi
    if [[ $framing == expect ]]; then options+=(-H "Expect: 100-continue"); fi
    : >"$room/body"
    status=$(curl "${options[@]}" -w '%{http_code}' "$1${path//\{id\}/$id}")
    if [[ $method == HEAD ]]; then : >"$room/body"; fi
    if [[ $method == POST ]]; then
        found=$(grep -oE '"id" *: *"[^"]+"' "$room/body" | head -1 | cut -d'"' -f4) || true
        id=${found:-$id}
    fi
    field() { tr -d '\r' <"$room/head" | grep -i "^$1: " | tail -1 | cut -d' ' -f2- || true; }
    printf '%s\t%s\t%s\t%s\t%s\n' "$status" "$(field content-type)" "$(field location)" "$(field etag)" "$(base64 -w0 <"$room/body")"
done < <(tr '\t' '\037' <"$3")
