// SPDX-License-Identifier: Apache-2.0 OR MIT
// Programs that die with much or little memory, one or many at once, under any name.
//
//   hog MIB SPARSE_MIB [TIMES [NAME]]
//
// Fills MIB with what is no zeros, maps SPARSE_MIB and writes one byte of each 64 MiB of it, and dies by SIGSEGV; with TIMES
// as many children that all do so at once, and waits for them.
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char *map(size_t mib) {
    char *at = mmap(0, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        _exit(9);
    return at;
}

static void die(size_t full, size_t sparse) {
    if (full) {
        unsigned *at = (unsigned *)map(full);
        for (size_t i = 0; i < (full << 20) / sizeof *at; i++)
            at[i] = (unsigned)i * 2654435761u | 1;
    }
    if (sparse) {
        char *at = map(sparse);
        for (size_t i = 0; i < sparse; i += 64)
            at[i << 20] = 1;
    }
    // The first process of a pid namespace does not die by a signal that it sends itself.
    signal(SIGSEGV, SIG_DFL);
    *(volatile int *)16 = 0;
    _exit(8);
}

int main(int count, char **words) {
    size_t full = count > 1 ? strtoul(words[1], 0, 0) : 0, sparse = count > 2 ? strtoul(words[2], 0, 0) : 0;
    int times = count > 3 ? atoi(words[3]) : 0, ready[2];
    if (count > 4)
        prctl(PR_SET_NAME, words[4]);
    if (!times)
        die(full, sparse);
    if (pipe(ready))
        return 9;
    for (int i = 0; i < times; i++) {
        if (fork())
            continue;
        char byte;
        close(ready[1]);
        if (read(ready[0], &byte, 1) == 0)
            die(full, sparse);
        _exit(9);
    }
    usleep(300000);
    close(ready[1]);
    while (wait(0) > 0)
        ;
    return 0;
}
