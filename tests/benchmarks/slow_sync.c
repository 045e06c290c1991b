/* A disk whose sync takes SLOW_SYNC_MS milliseconds more, for a process that is started with this as LD_PRELOAD. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_the_disk(void) {
    const char *text = getenv("SLOW_SYNC_MS");
    long ms = text ? atol(text) : 0;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0) {}
}

int fdatasync(int fd) { wait_for_the_disk(); return (int)syscall(SYS_fdatasync, fd); }
int fsync(int fd) { wait_for_the_disk(); return (int)syscall(SYS_fsync, fd); }
