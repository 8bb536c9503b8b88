/* Preloaded, makes what Python does to files below a folder fail: one operation, or all from
   one on that take room on the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[PATH_MAX];
static int fault, stays, first = -1;
static atomic_int count;

/* Let operation `at` below `path` fail with the error `number`; 0 stands for a short write. */
void arm(const char *path, int at, int number, int for_good) {
    snprintf(folder, sizeof folder, "%s/", path);
    fault = number;
    stays = for_good;
    count = 0;
    first = at;
}

/* Let everything pass again; return how many operations there were. */
int disarm(void) {
    first = -1;
    return count;
}

static int fails(const char *path, int takes_room) {
    if (first < 0 || (stays && !takes_room) || strncmp(path, folder, strlen(folder)) != 0) return 0;
    int turn = count++;
    if (turn != first && !(stays && turn > first)) return 0;
    if (fault) errno = fault;
    return 1;
}

static int fails_on(int file, int takes_room) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = first < 0 ? -1 : readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(path, takes_room);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(path, flags & O_CREAT) && fault ? -1 : REAL(open64)(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    return fails(path, 1) && fault ? -1 : REAL(mkdir)(path, mode);
}

int rename(const char *path, const char *target) {
    return fails(path, 0) && fault ? -1 : REAL(rename)(path, target);
}

ssize_t write(int file, const void *data, size_t size) {
    int failed = fails_on(file, 1);
    return failed && fault ? -1 : REAL(write)(file, data, failed ? size - size / 2 : size);
}

int fsync(int file) {
    return fails_on(file, 0) && fault ? -1 : REAL(fsync)(file);
}

int close(int file) { /* Linux closes it whatever it reports */
    int failed = fails_on(file, 0) && fault;
    int result = REAL(close)(file);
    if (failed) errno = fault;
    return failed ? -1 : result;
}
