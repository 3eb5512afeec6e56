// SPDX-License-Identifier: Apache-2.0 OR MIT
// A process that makes system calls on command, pinned to one CPU: held still while a tracer is attached or a hook is
// started, then told to go. Usage: load CPU; it prints "ready PID" and takes lines on standard input:
//   loop N     N times getppid(2), back to back
//   mix N      N calls of eight kinds, three of which fail
//   pace N NS  N times getppid(2), one every NS nanoseconds (busy waiting; a late call does not move the later ones)
//   quit
// The answer to each is its duration in nanoseconds.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t); // vDSO: no system call of its own
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void mix(long n) {
	static char buffer[64];
	int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
	for (long i = 0; i < n; i += 8) {
		syscall(SYS_getppid);
		syscall(SYS_read, zero, buffer, sizeof buffer);
		syscall(SYS_write, null, buffer, sizeof buffer);
		syscall(SYS_openat, AT_FDCWD, "/no-such-file", O_RDONLY, 0);
		syscall(SYS_lseek, zero, 0, SEEK_CUR);
		syscall(SYS_fcntl, null, F_GETFL);
		syscall(SYS_close, -1);
		syscall(SYS_lseek, -1, 0, SEEK_SET);
	}
	close(zero);
	close(null);
}

int main(int argc, char **argv) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0) {
		perror("sched_setaffinity");
		return 1;
	}
	printf("ready %d\n", getpid());
	fflush(stdout);
	char line[128];
	while (fgets(line, sizeof line, stdin)) {
		long n = 0, ns = 0;
		long long begin = now();
		if (sscanf(line, "loop %ld", &n) == 1) {
			for (long i = 0; i < n; i++)
				syscall(SYS_getppid);
		} else if (sscanf(line, "mix %ld", &n) == 1) {
			mix(n);
		} else if (sscanf(line, "pace %ld %ld", &n, &ns) == 2) {
			for (long i = 0; i < n; i++) {
				while (now() < begin + i * ns)
					;
				syscall(SYS_getppid);
			}
		} else {
			break;
		}
		printf("%lld\n", now() - begin);
		fflush(stdout);
	}
	return 0;
}
