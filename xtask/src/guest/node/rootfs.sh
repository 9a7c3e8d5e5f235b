#!/bin/sh
# Builds a node's root file system: rootfs.sh BUILD IMAGE SUITE PACKAGES makes IMAGE, a sparse file with an ext4, of BUILD/sources
# (where packages come from), BUILD/apt.conf and BUILD/files (what is put on top). Runs as root in a mount namespace of its own.
set -e
build=$1 image=$2 suite=$3 packages=$4
tree=$build/tree

# In memory: dpkg syncs after each package, which would take twice as long on a disk.
mkdir "$tree"
mount -t tmpfs -o mode=0755 tmpfs "$tree"
mmdebstrap --mode=root --variant=essential --include="$packages" \
    --aptopt="$build/apt.conf" \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    "$suite" "$tree" "$build/sources"

# What nobody needs for the minutes that a guest lives: consoles, timers, what looks for hardware, and records of earlier boots.
for unit in \
    dev-hugepages.mount dev-mqueue.mount e2scrub_reap.service getty.target kmod-static-nodes.service ldconfig.service \
    netavark-dhcp-proxy.socket netavark-dhcp-proxy.service proc-sys-fs-binfmt_misc.automount remote-fs.target \
    sys-fs-fuse-connections.mount sys-kernel-config.mount systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-binfmt.service systemd-creds.socket systemd-firstboot.service systemd-hibernate-clear.service \
    systemd-hostnamed.socket systemd-initctl.socket systemd-journal-catalog-update.service systemd-journal-flush.service \
    systemd-logind.service systemd-machine-id-commit.service systemd-modules-load.service systemd-pcrextend.socket \
    systemd-pcrlock.socket systemd-pcrmachine.service systemd-pcrphase-sysinit.service systemd-pcrphase.service \
    systemd-pstore.service systemd-random-seed.service systemd-sysext.socket systemd-sysusers.service \
    systemd-tpm2-setup-early.service systemd-tpm2-setup.service systemd-update-done.service systemd-user-sessions.service \
    timers.target; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
# Generators make units of what they find at each boot. There is nothing to be found.
mkdir -p "$tree/etc/systemd/system-generators"
for generator in "$tree"/usr/lib/systemd/system-generators/*; do
    ln -s /dev/null "$tree/etc/systemd/system-generators/${generator##*/}"
done

rm -f "$tree/etc/machine-id" "$tree/etc/resolv.conf"
cp -R "$build/files/." "$tree/"
# Without a journal: the disk is thrown away with the guest.
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$tree" "$image" 4G
