#!/bin/sh
# Sets up what the tests need and runs all that CI runs. One part alone: ./test.sh lint|types|fast|slow|browser
exec "$(dirname -- "$0")/start.sh" test "$@"
