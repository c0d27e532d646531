#!/bin/sh
# Copies a mirror to @DIR@:   sh this-script SOURCE
# SOURCE is what rsync takes, for example rsync://mirror.example/netboot
#
# What names something is read before what it names, and put in place after it.
# So the copy is whole at every moment, also while the source changes, and when
# this script is interrupted. Names are kept in @DIR@/.nbextract/names meanwhile.
set -eu
umask 022
from=${1:?usage: $0 SOURCE}
from=${from%/}
to="@DIR@"
names=$to/.nbextract/names
mkdir -p "$to" && mkdir -p -m 700 "$to/.nbextract" && mkdir -p "$names"

# read_names HOW: the names, as they are now.
read_names() {
	rsync "$1" --delete --prune-empty-dirs \
		--include=/v2/ --include='/v2/**/' --include='/v2/**/_tags/*' --include='/v2/**/tags/list' \
		--include='/v2/**/referrers/*' --include=/tags.map --exclude='*' "$from/" "$names/"
}
read_names -a
# All that has no name of its own. Nothing is removed.
rsync -aH --exclude='/.*' --exclude=/boot/.nbextract --exclude=/tags.map \
	--exclude='/v2/**/_tags/*' --exclude='/v2/**/tags/list' --exclude='/v2/**/referrers/*' "$from/" "$to/"
# Now the names have all that they need.
rsync -a "$names/" "$to/"
# What the source has removed, names first; unless it has other names by now, which
# the copy knows nothing of. Then the next run does it.
changes=$(read_names -ain)
if [ -z "$changes" ]; then
	remove="rsync -aH --delete --existing --ignore-existing --exclude=/.nbextract"
	$remove "$from/v2/" "$to/v2/"
	$remove --exclude=/boot/.nbextract "$from/" "$to/"
fi
