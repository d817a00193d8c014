/* To be preloaded: has reading or writing files below a directory fail from some byte on, as on a disk that breaks or is full.
 *
 *   PYE_FAIL_BELOW   the directory
 *   PYE_FAIL_READ    so many bytes of its files can be read by a process, then none: EIO
 *   PYE_FAIL_WRITE   so many can be written, then none: ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long used[2];

enum { READ, WRITE };

/* How many of `want` bytes can be had of the file; -1 and errno for none. Others than those below the directory are not counted. */
static ssize_t grant(int fd, int what, size_t want)
{
    const char *below = getenv("PYE_FAIL_BELOW");
    const char *limit = getenv(what == READ ? "PYE_FAIL_READ" : "PYE_FAIL_WRITE");
    char name[64], path[PATH_MAX];
    if (!below || !limit || want == 0)
        return want;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int saved = errno;
    ssize_t len = readlink(name, path, sizeof path);
    errno = saved;
    ssize_t prefix = strlen(below);
    if (len <= prefix || memcmp(path, below, prefix) != 0 || path[prefix] != '/')
        return want;
    pthread_mutex_lock(&lock);
    long left = atol(limit) - used[what];
    if ((long)want > left)
        want = left > 0 ? left : 0;
    used[what] += want;
    pthread_mutex_unlock(&lock);
    if (want > 0)
        return want;
    errno = what == READ ? EIO : ENOSPC;
    return -1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *to, size_t len)
{
    ssize_t some = grant(fd, READ, len);
    return some < 0 ? some : NEXT(read)(fd, to, some);
}

ssize_t pread(int fd, void *to, size_t len, off_t at)
{
    ssize_t some = grant(fd, READ, len);
    return some < 0 ? some : NEXT(pread)(fd, to, some, at);
}

ssize_t pread64(int fd, void *to, size_t len, off64_t at)
{
    ssize_t some = grant(fd, READ, len);
    return some < 0 ? some : NEXT(pread64)(fd, to, some, at);
}

ssize_t write(int fd, const void *from, size_t len)
{
    ssize_t some = grant(fd, WRITE, len);
    return some < 0 ? some : NEXT(write)(fd, from, some);
}

ssize_t pwrite(int fd, const void *from, size_t len, off_t at)
{
    ssize_t some = grant(fd, WRITE, len);
    return some < 0 ? some : NEXT(pwrite)(fd, from, some, at);
}

ssize_t pwrite64(int fd, const void *from, size_t len, off64_t at)
{
    ssize_t some = grant(fd, WRITE, len);
    return some < 0 ? some : NEXT(pwrite64)(fd, from, some, at);
}

/* The first part only: callers go on with the rest. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len > 0)
            return write(fd, parts[i].iov_base, parts[i].iov_len);
    return 0;
}

/* Not there: callers read and write instead. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
    (void)in, (void)in_at, (void)out, (void)out_at, (void)len, (void)flags;
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile(int out, int in, off_t *at, size_t len)
{
    (void)out, (void)in, (void)at, (void)len;
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t len)
{
    (void)out, (void)in, (void)at, (void)len;
    errno = ENOSYS;
    return -1;
}
