/* What a process cannot choose: the time of day, and whether the disk takes what it is given. Loaded before the C library
 * (LD_PRELOAD), it answers in its place, as a file in shared memory says; and it counts who is connected to. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WELL, FULL, HANGS };

/* The layout is that of weather.rs. */
static struct {
    _Atomic int64_t ahead; /* seconds that the time of day is ahead */
    _Atomic int64_t disk;
    _Atomic uint32_t connects[65536]; /* by port */
} *weather;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POINTSMAN_WEATHER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(NULL, sizeof *weather, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) weather = map;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int told = syscall(SYS_clock_gettime, clock, now);
    if (told == 0 && weather && clock == CLOCK_REALTIME) now->tv_sec += weather->ahead;
    return told;
}

static int synchronise(long how, int file) {
    while (weather && weather->disk == HANGS) usleep(1000);
    if (weather && weather->disk == FULL) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(how, file);
}

int fdatasync(int file) { return synchronise(SYS_fdatasync, file); }

int fsync(int file) { return synchronise(SYS_fsync, file); }

int connect(int socket, const struct sockaddr *to, socklen_t length) {
    if (weather && to->sa_family == AF_INET) weather->connects[ntohs(((const struct sockaddr_in *)to)->sin_port)]++;
    return syscall(SYS_connect, socket, to, length);
}
