# enter.sh build|run ROOT COMMAND… : in namespaces of our own, make ROOT the root as a container engine would, and become COMMAND.
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
if [ "$kind" = run ]; then
    /usr/sbin/ip link set lo up
    mount -t sysfs -o ro sys sys
    mount -t tmpfs -o mode=1777 tmp tmp
    mount --bind "$VOLUME" data
    mount -o remount,bind,ro "$root"
fi
/usr/sbin/pivot_root . .
cd /
umount -l /
exec "$@"
