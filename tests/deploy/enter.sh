# enter.sh build|run|boot ROOT COMMAND… : in namespaces of our own, make ROOT the root as a container engine would, and become COMMAND.
# A chroot would not do: the kernel lets nobody make user namespaces in one, and Chromium's sandbox needs them.
set -e
kind=$1 root=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty; do
    touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
ln -s /proc/self/fd dev/fd
mkdir dev/pts dev/shm
mount -t tmpfs -o size=2g,mode=1777 shm dev/shm
case $kind in
run)
    /usr/sbin/ip link set lo up
    mount -t sysfs -o ro sys sys
    mount -t tmpfs -o mode=1777 tmp tmp
    mount --bind "$VOLUME" data
    mount -o remount,bind,ro "$root"
    ;;
boot) # what systemd wants to find
    /usr/sbin/ip link set lo up
    mount -t sysfs sys sys
    if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
        mount -t cgroup2 cgroup2 sys/fs/cgroup
    else
        mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
        mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
        mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
        mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
    fi
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=755 run run
    mount -t tmpfs -o mode=1777 tmp tmp
    ;;
esac
/usr/sbin/pivot_root . .
cd /
umount -l /
exec "$@"
