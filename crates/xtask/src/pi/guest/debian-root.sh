#!/bin/bash
# Lays a configured arm64 Debian below FOLDER without emulating a single maintainer script: they run for this machine's
# own processor, whose /etc and /var the unpacked arm64 packages then get.
# usage: debian-root.sh FOLDER SUITE PACKAGES [MIRROR]
set -euo pipefail
folder=$1 suite=$2 packages=$3 mirror=${4:-}
native=$(mktemp -d)
trap 'rm -rf "$native"' EXIT

mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$native/root" $mirror
mmdebstrap --quiet --variant=extract --architectures=arm64 \
    --include="$packages,?essential,?priority(required)" "$suite" "$folder" $mirror

for part in etc var root home srv usr/local; do
    rm -rf "${folder:?}/$part"
    cp -a "$native/root/$part" "$folder/$part"
done
for link in bin sbin lib; do
    [ -L "$folder/$link" ] || ln -s "usr/$link" "$folder/$link"
done
# The links below /usr that maintainer scripts have made.
(cd "$native/root" && find usr -type l) | while read -r link; do
    [ -e "$folder/$link" ] || [ -L "$folder/$link" ] && continue
    mkdir -p "$folder/$(dirname "$link")"
    cp -a "$native/root/$link" "$folder/$link"
done

# The package database is to speak of arm64.
architecture=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture --query DEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
sed -i "s/^Architecture: $architecture\$/Architecture: arm64/" "$folder/var/lib/dpkg/status"
echo arm64 >"$folder/var/lib/dpkg/arch-native"
cd "$folder/var/lib/dpkg/info"
for file in *":$architecture".*; do
    mv "$file" "${file/:$architecture./:arm64.}"
done
sed -i "s,$multiarch,aarch64-linux-gnu,g" ./*.list
rm -f "$folder/etc/ld.so.cache"
