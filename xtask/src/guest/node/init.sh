#!/bin/busybox sh
# Process 1 of a node while the initramfs is its root: it loads modules, mounts the disk with the root file system, puts
# this run's files into it, and becomes systemd.

bb=/root-files/guest/busybox
$bb mkdir -p /dev /proc /sys
$bb mount -t devtmpfs devtmpfs /dev
$bb mount -t sysfs sysfs /sys
$bb mount -t proc proc /proc
while read -r module; do
    $bb insmod "/root-files$module" || echo "guest: cannot load $module"
done < /root-files/guest/modules

# Disks appear one after the other, in no order: the root says by its serial number which it is.
root=
tries=0
while [ -z "$root" ] && [ $tries -lt 1000 ]; do
    for controller in /sys/class/nvme/*; do
        serial=
        [ -e "$controller/serial" ] && read -r serial < "$controller/serial"
        [ "$serial" = root ] && [ -b "/dev/${controller##*/}n1" ] && root=/dev/${controller##*/}n1
    done
    [ -n "$root" ] || $bb usleep 10000
    tries=$((tries + 1))
done
$bb mount -t ext4 -o noatime "$root" /moved || echo "guest: cannot mount the root file system, disk '$root'"

$bb mkdir -p /dev/disk/by-id
for controller in /sys/class/nvme/*; do
    read -r serial < "$controller/serial"
    $bb ln -s "/dev/${controller##*/}n1" "/dev/disk/by-id/$serial"
done

$bb rm -r /root-files/guest/module
$bb cp -a /root-files/. /moved/
$bb umount /proc
$bb umount /sys
$bb umount /dev
exec $bb switch_root /moved /lib/systemd/systemd
