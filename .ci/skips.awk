# Makes of what `go test -v` prints what `go test` prints, with the tests that
# skipped, numbered, before their package. A package that failed is shown whole.

{ output = output $0 "\n" }

/^=== (RUN|CONT|NAME) / { test = $3 }

# The last message of a test is the reason; it may be of many lines, the first will do.
/^ +[A-Za-z0-9_]+\.go:[0-9]+: / { reason[test] = $0; sub(/^ +/, "", reason[test]) }

/^ *--- SKIP: / { skips = skips sprintf("skip %d: %s: %s\n", ++count, $3, reason[$3]) }

/^(ok|\?) +\t/ { report(skips $0 "\n") }

/^FAIL\t/ { report(skips output) }

function report(text) {
	printf "%s", text
	fflush()
	output = skips = ""
	split("", reason)
}

END { printf "%s", output }
