/* Notes how much of each file an fsync has made durable, and can slow it: LD_PRELOAD this; FSYNC_NOTES names a folder.
 *
 * What a file held before the call is on the disk when the call returns. That length is written, as decimal text,
 * to FSYNC_NOTES/<name of the file>: after a loss of power the file may be no longer than this. While there is a file
 * FSYNC_NOTES/stall, each fsync takes 2.5 seconds more, or until it is gone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, off_t size) {
    char link[64], path[4096], name[4096];
    const char *folder = getenv("FSYNC_NOTES");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!folder || length <= 0) return;
    path[length] = 0;
    const char *base = strrchr(path, '/');
    snprintf(name, sizeof name, "%.2000s/%.2000s", folder, base ? base + 1 : path);
    int to = open(name, O_WRONLY | O_CREAT, 0600);
    if (to < 0) return;
    char text[32];
    int written = snprintf(text, sizeof text, "%020lld\n", (long long)size);
    if (pwrite(to, text, (size_t)written, 0) != written) unlink(name);
    close(to);
}

static void stall(void) {
    char path[4096];
    const char *folder = getenv("FSYNC_NOTES");
    snprintf(path, sizeof path, "%.4000s/stall", folder ? folder : "");
    for (int waited_ms = 0; waited_ms < 2500 && access(path, F_OK) == 0; waited_ms += 10) usleep(10000);
}

static int through(const char *call, int fd) {
    struct stat before;
    int regular = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    stall();
    int outcome = real(fd);
    if (outcome == 0 && regular) note(fd, before.st_size);
    return outcome;
}

int fsync(int fd) { return through("fsync", fd); }
int fdatasync(int fd) { return through("fdatasync", fd); }
