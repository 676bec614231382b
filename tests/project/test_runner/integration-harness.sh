#!/bin/sh
# Prints what the test harness prints when two tests miss a server, with other failures from the
# environment.
if [ -n "$BKLIT_TEST_MISSING" ]; then
    echo 'redis::push BKLIT_TEST_VALKEY' >>"$BKLIT_TEST_MISSING"
    echo 'redis::pop BKLIT_TEST_VALKEY' >>"$BKLIT_TEST_MISSING"
fi
cat <<END
test redis::push ... FAILED
test http::route ... ok
test redis::pop ... FAILED
$OTHER_LINES
failures:

---- redis::push stdout ----

thread 'redis::push' panicked: BKLIT_TEST_VALKEY is not set
$OTHER_OUTPUT
---- redis::pop stdout ----

thread 'redis::pop' panicked: BKLIT_TEST_VALKEY is not set

failures:
    redis::push
$OTHER_NAMES
    redis::pop

test result: FAILED. 1 passed; $FAILED failed; 0 ignored; 0 measured; 0 filtered out
END
exit 101
