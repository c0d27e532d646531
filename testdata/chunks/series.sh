#!/bin/sh
# Makes consecutive versions of a boot tree from Debian's packages, to measure what
# an update costs: series.sh DIR [VERSION...] gives DIR/VERSION/{shimx64.efi,
# grubx64.efi,pxelinux.0,vmlinuz,initrd.img,rescue-zstd.img,install-zstd.img,
# install-xz.img} for each kernel version that is named (6.1.0-54 and so on). What is
# there already is kept. With SMALL=1 there are no install images, and it takes a tenth.
#
# The kernels and their modules are the real ones. The rest of the root tree is the
# same packages every time, except that a few libraries change and grow a little, as
# they do between two builds of an installer. It needs apt with Debian's main section,
# dpkg-deb, cpio, zstd and mksquashfs, 15 GB of disk, and half an hour.
set -eu

dir=$1
shift
[ $# -gt 0 ] || set -- 6.1.0-54 6.1.0-55 6.1.0-56
packages="base-files bash coreutils util-linux systemd udev dpkg apt perl-base libc6 libicu72
	python3.11-minimal libpython3.11-stdlib libllvm14 libllvm15 gcc-12 g++-12 cpp-12 openjdk-17-jre-headless
	libqt5webenginecore5 libqt6webenginecore6 libwebkit2gtk-4.1-0 libwebkit2gtk-4.0-37 firefox-esr
	chromium chromium-common libreoffice-core libreoffice-common libnode108 golang-1.19-go libmozjs-102-0
	libclang-cpp14 libmono-2.0-1 libgtk-3-0 libboost1.74-dev qemu-system-x86 gnome-backgrounds"
loaders="shim-signed grub-efi-amd64-signed pxelinux"
[ -z "${SMALL:-}" ] || packages="base-files bash coreutils util-linux systemd udev dpkg apt perl-base libc6"

mkdir -p "$dir/debs"
dir=$(cd "$dir" && pwd)

# fetch NAME...: the files of packages, once.
fetch() {
	for name; do
		ls "$dir/debs/${name}_"*.deb >/dev/null 2>&1 || (cd "$dir/debs" && apt-get -q download "$name")
	done
}

# unpack NAME TREE
unpack() { dpkg-deb -x "$(ls "$dir/debs/${1}_"*.deb | head -n 1)" "$2"; }

# squash TREE IMAGE OPTION...: an image, the same one for the same tree.
squash() {
	tree=$1 image=$2
	shift 2
	[ ! -f "$image" ] || return 0
	rm -f "$image.new"
	mksquashfs "$tree" "$image.new" -noappend -no-progress -quiet -all-root -mkfs-time 0 -all-time 0 -b 128K "$@"
	mv "$image.new" "$image"
}

# change VERSION SEED <LIST: other contents in the same libraries, a little longer.
change() {
	while read -r name; do
		file=$dir/root${name#"$dir/base"}
		cp "$file" "$file.new" # not through the hard link
		printf 'version %s' "$1" | dd of="$file.new" bs=1 seek=100000 conv=notrunc status=none
		head -c $(($2 * 700)) "$file" >>"$file.new"
		mv "$file.new" "$file"
	done
}

fetch $packages $loaders
if [ ! -d "$dir/base" ]; then
	rm -rf "$dir/base.new"
	for name in $packages; do unpack "$name" "$dir/base.new"; done
	mv "$dir/base.new" "$dir/base"
fi
# The boot loaders stay the same.
if [ ! -d "$dir/loaders" ]; then
	rm -rf "$dir/loaders.new"
	for name in $loaders; do unpack "$name" "$dir/loaders.new"; done
	mv "$dir/loaders.new" "$dir/loaders"
fi
# Up to sixteen libraries, spread over the sizes that there are.
find "$dir/base" -type f -name '*.so*' -size +200k -printf '%s %p\n' | sort -rn |
	awk 'NR % 12 == 1 { print $2 }' | head -n 16 >"$dir/changing"

n=0
for version; do
	n=$((n + 1))
	out=$dir/$version
	mkdir -p "$out"
	rm -rf "$dir/root" "$dir/kernel" "$dir/small"
	fetch "linux-image-$version-amd64"
	unpack "linux-image-$version-amd64" "$dir/kernel"
	cp "$dir/kernel/boot/vmlinuz-$version-amd64" "$out/vmlinuz"
	cp -p "$dir/loaders/usr/lib/shim/shimx64.efi.signed" "$out/shimx64.efi"
	cp -p "$dir/loaders/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed" "$out/grubx64.efi"
	cp -p "$dir/loaders/usr/lib/PXELINUX/pxelinux.0" "$out/pxelinux.0"

	# A large initrd: all modules, reproducible, as one zstd frame.
	find "$dir/kernel" -exec touch -h -d @0 {} +
	if [ ! -f "$out/initrd.img" ]; then
		(cd "$dir/kernel/lib" && find . | LC_ALL=C sort | cpio -o -H newc --reproducible -R 0:0 --quiet) |
			zstd -q -15 -f -o "$out/initrd.new"
		mv "$out/initrd.new" "$out/initrd.img"
	fi

	# A small image, most of which is modules.
	mkdir -p "$dir/small/usr"
	cp -al "$dir/base/usr/bin" "$dir/small/usr/"
	cp -al "$dir/kernel/lib/modules" "$dir/small/"
	squash "$dir/small" "$out/rescue-zstd.img" -comp zstd -Xcompression-level 9

	[ -z "${SMALL:-}" ] || continue
	# A large one.
	cp -al "$dir/base" "$dir/root"
	mkdir -p "$dir/root/lib"
	cp -al "$dir/kernel/lib/." "$dir/root/lib/"
	change "$version" "$n" <"$dir/changing"
	squash "$dir/root" "$out/install-zstd.img" -comp zstd -Xcompression-level 9
	squash "$dir/root" "$out/install-xz.img" -comp xz
done
rm -rf "$dir/root" "$dir/kernel" "$dir/small"
