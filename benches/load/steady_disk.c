/* A disk whose every sync takes 160 µs, for LD_PRELOAD over a memory file system: a benchmark on a shared machine would
 * otherwise measure the neighbours' disk. 160 µs is the median fdatasync of the machines that the goals were set on. */
#include <errno.h>
#include <time.h>

static int steady(void) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 160000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    /* A signal is no failed sync: PostgreSQL would end all of itself. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0) == EINTR) {
    }
    return 0;
}

int fsync(int file) {
    (void)file;
    return steady();
}

int fdatasync(int file) {
    (void)file;
    return steady();
}
