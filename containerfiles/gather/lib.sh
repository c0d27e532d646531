# Functions that the gather scripts share; they read it with ".".

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# fetch URL FILE downloads a file and gives it the server's time.
fetch() {
	mkdir -p "$(dirname "$2")"
	curl -fsSL --retry 3 --remote-time -o "$2" "$1" || fail "cannot get $1"
}
