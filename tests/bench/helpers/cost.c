// SPDX-License-Identifier: Apache-2.0 OR MIT
// Runs a command and prints, in one line: wall time in ns, user CPU in us, system CPU in us, and the time in ns from
// just before its start to the CLOCK_MONOTONIC that it printed first (0 if it printed no number). Its output goes no
// further. Usage: cost COMMAND [ARGUMENT...]; the exit status is the command's.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
	char text[4096];
	size_t have = 0;
	int out[2];
	if (argc < 2 || pipe2(out, O_CLOEXEC) != 0)
		return 125;
	long long begin = now();
	pid_t child = fork();
	if (child == 0) {
		dup2(out[1], 1);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	close(out[1]);
	for (;;) {
		char drop[4096];
		char *to = have < sizeof text - 1 ? text + have : drop;
		ssize_t count = read(out[0], to, to == drop ? sizeof drop : sizeof text - 1 - have);
		if (count <= 0)
			break;
		if (to != drop)
			have += count;
	}
	int status;
	struct rusage usage;
	wait4(child, &status, 0, &usage);
	long long end = now();
	text[have] = 0;
	long long said = strtoll(text, NULL, 10);
	printf("%lld %lld %lld %lld\n", end - begin, usage.ru_utime.tv_sec * 1000000LL + usage.ru_utime.tv_usec,
	       usage.ru_stime.tv_sec * 1000000LL + usage.ru_stime.tv_usec, said > 0 ? said - begin : 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
