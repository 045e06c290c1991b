/* A file system that loses locks, or shares no memory, for a process that is started with this as LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>

static int any_fcntl(const char *name, int fd, int cmd, void *arg) {
    if (getenv("LOST_LOCKS") && (cmd == F_SETLK || cmd == F_SETLKW)) return 0;
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
    return real(fd, cmd, arg);
}

int fcntl(int fd, int cmd, ...) {
    va_list list;
    va_start(list, cmd);
    void *arg = va_arg(list, void *);
    va_end(list);
    return any_fcntl("fcntl", fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...) {
    va_list list;
    va_start(list, cmd);
    void *arg = va_arg(list, void *);
    va_end(list);
    return any_fcntl("fcntl64", fd, cmd, arg);
}

int flock(int fd, int operation) {
    if (getenv("LOST_FLOCKS")) return 0;
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    return real(fd, operation);
}

static void *any_mmap(const char *name, void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (getenv("PRIVATE_MEMORY") && fd >= 0 && (flags & MAP_SHARED)) flags = (flags & ~MAP_SHARED) | MAP_PRIVATE;
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, name);
    return real(at, size, protection, flags, fd, offset);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return any_mmap("mmap", at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return any_mmap("mmap64", at, size, protection, flags, fd, offset);
}
