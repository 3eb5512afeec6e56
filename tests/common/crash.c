/* SPDX-License-Identifier: Apache-2.0 OR MIT
 * Dies in one of twenty threads, and tells before what it is, for tests that look at what is written down of it: its own
 * /proc/self/status and limits go to standard output. `crash wait FILE` is a program that stays until FILE is there,
 * `crash die N` one that makes N calls and dies. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 20

static int ready[2], never[2];

static void show(const char *path)
{
	char text[8192];
	int file = open(path, O_RDONLY);
	ssize_t have;

	while ((have = read(file, text, sizeof text)) > 0)
		if (write(1, text, have) != have)
			_exit(70);
	close(file);
}

static void *thread(void *number)
{
	char name[16], go;
	long own = (long)number;

	/* One of them has a name that is no text and would turn the terminal red. */
	snprintf(name, sizeof name, own == 7 ? "\xff\x1b[31m-%ld" : "thread-%ld", own);
	prctl(PR_SET_NAME, name);
	syscall(SYS_getpgid, 7770000 + own);
	if (own != 13) {
		if (write(ready[1], "x", 1) != 1 || read(never[0], &go, 1) < 0)
			_exit(71);
		return NULL;
	}
	for (int have = 1; have < THREADS; have++)
		if (read(ready[0], &go, 1) != 1)
			_exit(72);
	show("/proc/self/status");
	show("/proc/self/limits");
	/* All others are in their calls. */
	usleep(50000);
	syscall(SYS_getpgid, 7779999);
	*(volatile int *)0x1230 = 1;
	return NULL;
}

int main(int argc, char **argv)
{
	struct rlimit limit = { 321, 654 };
	pthread_t last;

	if (argc > 2 && !strcmp(argv[1], "wait")) {
		while (access(argv[2], F_OK))
			usleep(10000);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "die")) {
		for (long left = argc > 2 ? atol(argv[2]) : 0; left; left--)
			syscall(SYS_getpgid, 7775555);
		syscall(SYS_getpgid, 7778888);
		*(volatile int *)0x1230 = 1;
	}
	/* Without it the dump's descriptors and mappings would be those of the C library alone. */
	int file = open("/bin/busybox", O_RDONLY);
	if (dup2(file, 77) != 77 || setrlimit(RLIMIT_NOFILE, &limit) || pipe(ready) || pipe(never))
		return 73;
	if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED)
		return 74;
	close(file);
	for (long number = 1; number < THREADS; number++)
		if (pthread_create(&last, NULL, thread, (void *)number))
			return 75;
	thread((void *)0L);
	return 0;
}
