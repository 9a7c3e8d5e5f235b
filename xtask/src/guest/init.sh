#!/bin/busybox sh
# Process 1 of a guest. It moves the root from the initramfs to a tmpfs (pivot_root is refused on the former), sets the
# node up as an init of a Kubernetes node does (everything shared, cgroup v2 with all controllers), runs /guest/command
# and reports on three serial ports: 1 is its stdout, 2 its stderr, 3 how it ended. A process costs 50 ms under
# emulation, so this uses few.

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

# The ports appear a moment after their driver.
tries=0
while [ $tries -lt 500 ] && [ ! -c /dev/vport0p1 -o ! -c /dev/vport0p2 -o ! -c /dev/vport0p3 ]; do
    usleep 10000
    tries=$((tries + 1))
done

# A port opens once only; behind a pipe, /dev/stdout and /dev/stderr work as everywhere.
mkfifo /guest/out /guest/err
cat /guest/out > /dev/vport0p1 &
out_reader=$!
cat /guest/err > /dev/vport0p2 &
err_reader=$!

exec 9> /dev/vport0p3
echo started >&9
sh /guest/command < /dev/null > /guest/out 2> /guest/err 9>&-
status=$?

# A daemon left behind may hold the pipes open: then the readers are given two seconds.
tries=0
while [ $tries -lt 100 ] && { kill -0 $out_reader || kill -0 $err_reader; } 2> /dev/null; do
    usleep 20000
    tries=$((tries + 1))
done
echo "exited $status" >&9
poweroff -f
