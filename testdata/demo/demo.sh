#!/bin/sh
# The main job of nbpack and nbextract, shown on a real boot tree: pack, list,
# extract, extract again, change one file, update. Every expectation is checked;
# the script fails where one does not hold.
#
#   make demo                 Debian's network installer, by apt-get
#   make demo TREE=DIR        your own boot tree
#   make demo TREE=generated  a small made-up tree, without network
#
# It needs no root and changes nothing outside its own temporary directory.
# Settings, all optional: TREE, OS_NAME, OS_VERSION, PLATFORM (of TREE), NBPACK
# and NBEXTRACT (the commands), DEMO_DIR (work here, and keep it).
set -eu
LC_ALL=C
export LC_ALL

here=$(pwd)
absolute() { # a command or file named on the command line, seen from anywhere
	case $1 in
	/*) printf '%s\n' "$1" ;;
	*/*) printf '%s\n' "$here/$1" ;;
	*) command -v "$1" || printf '%s\n' "$1" ;;
	esac
}
NBPACK=$(absolute "${NBPACK:-nbpack}")
NBEXTRACT=$(absolute "${NBEXTRACT:-nbextract}")

fail() {
	echo "demo: FAILED: $*" >&2
	exit 1
}

say() {
	printf '\n# %s\n' "$*"
}

# run prints a command as one would type it and runs it.
run() {
	printf '$ %s\n' "$*"
	"$@"
}

nbpack() { "$NBPACK" "$@"; }
nbextract() { "$NBEXTRACT" "$@"; }

# --- the input ---------------------------------------------------------------

# debian_tree gets Debian's network installer. It only downloads and unpacks:
# nothing is installed. Where the machine's package lists are missing it makes
# lists of its own, with the machine's sources and keys.
debian_tree() {
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
	arch=$(dpkg --print-architecture)
	mkdir apt
	download 12 || download 13 ||
		{ private_lists && { download 12 || download 13; }; } || return 1
	dpkg-deb -x apt/debian-installer-*.deb apt/x || return 1
	mv "apt/x/usr/lib/debian-installer/images/$OS_VERSION/$arch/text" tree || return 1
	rm -r apt
	OS_NAME=debian
	case $arch in
	ppc64el) PLATFORM=linux/ppc64le ;;
	armhf) PLATFORM=linux/arm/v7 ;;
	*) PLATFORM=linux/$arch ;;
	esac
	origin="the network installer of Debian $OS_VERSION, by apt-get download"
}

apt_options=
download() {
	OS_VERSION=$1
	apt download "debian-installer-$1-netboot-$arch"
}

private_lists() {
	mkdir -p apt/lists/partial apt/cache/archives/partial
	apt_options="-o Dir::State::Lists=$work/apt/lists -o Dir::Cache=$work/apt/cache -o Acquire::Languages=none"
	apt update
}

apt() {
	# shellcheck disable=SC2086 # the options are words
	(cd apt && apt-get -qq $apt_options -o "APT::Sandbox::User=$(id -un)" "$@") >>apt/log 2>&1
}

# generated_tree makes files with the usual names; nothing boots from them.
generated_tree() {
	mkdir -p tree/grub
	for f in shimx64.efi grubx64.efi pxelinux.0 vmlinuz initrd.img; do
		echo "this stands for $f" >tree/$f
	done
	i=0
	while [ $i -lt 20000 ]; do
		echo "line $i of a made-up initrd"
		i=$((i + 1))
	done >>tree/initrd.img
	echo 'set timeout=5' >tree/grub/grub.cfg
	ln -s grub/grub.cfg tree/grub.cfg
	OS_NAME=demo OS_VERSION=1 PLATFORM=linux/amd64
	origin="made-up files"
}

choose_tree() {
	case ${TREE:-} in
	'') debian_tree || generated_tree ;;
	generated) generated_tree ;;
	*)
		[ -d "$TREE" ] || fail "TREE=$TREE is not a directory"
		cp -RP -p "$TREE" tree
		: "${OS_NAME:=demo}" "${OS_VERSION:=1}" "${PLATFORM:=linux/amd64}"
		origin=$TREE
		;;
	esac
}

# --- looking at trees --------------------------------------------------------

# inodes lists inode number and path of every file and link below a directory.
inodes() {
	(cd "$1" && find . ! -type d -exec ls -di {} + | sed 's/^ *//' | sort)
}

# files lists what a boot tree must hold of a source tree: path and checksum.
files() {
	(cd "$1" && find . -type f -exec cksum {} + | sort -k 3)
}

# names lists the files and links below a directory.
names() {
	find "$1" '(' -type f -o -type l ')' | sort
}

# show runs a command and prints the first lines of what it says.
show() {
	"$@" >shown
	sed 16q shown
	more=$(($(wc -l <shown) - 16))
	[ $more -le 0 ] || echo "… and $more more"
}

# --- the demo ----------------------------------------------------------------

if [ -n "${DEMO_DIR:-}" ]; then
	mkdir -p "$DEMO_DIR"
	work=$(cd "$DEMO_DIR" && pwd)
	[ -z "$(ls -A "$work")" ] || fail "DEMO_DIR=$DEMO_DIR is not empty"
else
	work=$(mktemp -d)
	trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM
fi
case ${TREE:-} in '' | generated | /*) ;; *) TREE=$here/$TREE ;; esac
cd "$work"
choose_tree
chmod -R u+w tree

say "A boot tree: $(find tree -type f | wc -l | tr -d ' ') files, $(du -sk tree | cut -f 1) KiB ($origin)."
show names tree

image=oci:images:$OS_NAME-$OS_VERSION

say "Pack it. The same files give the same digest, on any machine."
run nbpack build --os-name "$OS_NAME" --os-version "$OS_VERSION" --platform "$PLATFORM" tree "$image"

say "What is in the image?"
show run nbextract list "$image"

say "Bring it into a boot directory."
run nbextract pull "$image" -d boot
live=$(find boot -path boot/.nbextract -prune -o -path boot/by-digest -prune -o -name SHA256SUM -print)
live=${live%/SHA256SUM}
[ -n "$live" ] || fail "no boot tree below boot/"

say "The tree that machines boot from; links name what firmware asks for:"
show names "$live"
for link in $(find "$live" -name 'BOOT*' -type l | sort); do
	echo "$link -> $(readlink "$link")"
done
(cd "$live" && sha256sum --quiet -c SHA256SUM) || fail "a file differs from SHA256SUM"
files tree >want
(cd "$live" && find . -type f ! -path ./SHA256SUM -exec cksum {} + | sort -k 3) >got
cmp -s want got || fail "the boot tree differs from what was packed: $(diff want got | head -3)"
echo "Every file is there, byte for byte."

say "Again. Nothing changed, so nothing is done."
inodes "$live" >before
run nbextract pull "$image" -d boot
inodes "$live" >after
cmp -s before after || fail "a second pull changed something"

# A new initrd is what changes most; a tree without one gets its first file changed.
changed=$(cd tree && find . -type f -name 'initrd*' | sort | sed 1q)
[ -n "$changed" ] || changed=$(cd tree && find . -type f | sort | sed 1q)
changed=${changed#./}
say "One file changes, $changed, and the set is packed anew: the tag moves."
printf '\n' >>"tree/$changed"
run nbpack build --os-name "$OS_NAME" --os-version "$OS_VERSION" --platform "$PLATFORM" tree "$image"

say "What would the update do?"
run nbextract pull --dry-run "$image" -d boot
inodes "$live" >after
cmp -s before after || fail "a dry run changed something"

say "Do it. The whole set is exchanged at once; files that stayed are the same inodes."
run nbextract pull "$image" -d boot
inodes "$live" >after
moved=$(comm -13 before after | sed 's/^[0-9]* //' | while read -r path; do
	[ -h "$live/$path" ] || echo "${path#./}"
done | sort)
echo "Files in new inodes:" $moved
[ "$moved" = "$(printf '%s\n' SHA256SUM "$changed" | sort)" ] || fail "more or less than $changed and SHA256SUM moved"
cmp -s "tree/$changed" "$live/$changed" || fail "$changed is not the new one"
(cd "$live" && sha256sum --quiet -c SHA256SUM) || fail "a file differs from SHA256SUM"
run nbextract verify -d boot

say "Done: packed, extracted, nothing done twice, and of $(wc -l <after | tr -d ' ') entries only $changed (and SHA256SUM, which lists it) moved."
