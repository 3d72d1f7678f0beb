#!/bin/sh
# Programs that know no Pipes. Where nobody asks for a result file, it goes nowhere.
name=$1
result=${BULKHEAD_RESULT:-/dev/null}
made="\"assets\": {\"$name\": {\"metadata\": {\"rows\": 3}}}"
good="\"checks\": [{\"asset\": \"$name\", \"name\": \"good\", \"passed\": true}]"

echo "this is $name"
case $name in
    shell_without_a_result) ;;
    shell_with_a_result) echo "{$made, $good}" > "$result" ;;
    shell_with_nonsense) echo "all went well" > "$result" ;;
    shell_with_a_link) rm -f "$BULKHEAD_RESULT" && ln -s /etc/hostname "$BULKHEAD_RESULT" ;;
    shell_that_leaves_out_a_check) echo "{$made}" > "$result" ;;
    shell_that_exits_4) echo "{$made}" > "$result"; echo "disk on fire" >&2; exit 4 ;;
esac
