#!/bin/busybox sh
# The first program of the machine with systemd: loads the drivers of the SD card, and goes on with the system on it.
# Where there is none it ends, and the machine with it.
/bin/busybox --install -s /bin
mount -t devtmpfs devices /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done </modules/order
left=100
until mount -t ext4 /dev/mmcblk0 /card || mount -t ext4 /dev/mmcblk1 /card; do
    [ $((left -= 1)) -gt 0 ] || exit 1
    usleep 100000
done 2>/dev/null
mount -o move /dev /card/dev
umount /sys /proc
exec switch_root /card /sbin/init
