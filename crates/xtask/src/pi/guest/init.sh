#!/bin/busybox sh
# The first program of the small machine: loads the drivers, then runs what comes over the first serial line.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t devtmpfs devices /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs temporary /tmp
ip link set lo up
while read -r module; do insmod "/modules/$module"; done </modules/order
exec </dev/ttyAMA0 >/dev/ttyAMA0 2>&1
stty -echo -onlcr
echo '@@ exit 0'
while read -r line; do
    sh -c "$line" </dev/null 2>&1
    echo "@@ exit $?"
done
