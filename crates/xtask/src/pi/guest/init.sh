#!/bin/busybox sh
# The first program of the small machine: loads the drivers, then is its shell.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t devtmpfs devices /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs temporary /tmp
ip link set lo up
while read -r module; do insmod "/modules/$module"; done </modules/order
. /shell.sh
