#!/bin/busybox sh
# Process 1 of a guest. It moves the root from the initramfs to a tmpfs (pivot_root is refused on the former), sets the
# node up as an init of a Kubernetes node does (everything shared, cgroup v2 with all controllers), and runs the command.
# A process costs 50 ms under emulation, so this uses few.

if [ "$1" != moved ]; then
    bb=/root-files/bin/busybox
    $bb mount -t tmpfs -o mode=0755,size=75% tmpfs /moved
    $bb cp -a /root-files/. /moved/
    exec $bb switch_root /moved /init moved
fi

export PATH=/bin HOME=/root TERM=dumb
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts /dev/shm /dev/disk /dev/disk/by-id
mount -a
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
while read -r module; do
    insmod "$module" || echo "guest: cannot load $module"
done < /guest/modules
ip link set lo up
echo guest > /proc/sys/kernel/hostname
mount --make-rshared /

for controller in /sys/class/nvme/*; do
    [ -e "$controller/serial" ] || continue
    read -r serial < "$controller/serial"
    ln -s "/dev/${controller##*/}n1" "/dev/disk/by-id/$serial"
done

. /guest/run
poweroff -f
