// SPDX-License-Identifier: Apache-2.0 OR MIT
// The container's program: says when it is alive, by the clock that all processes of the machine share, and ends. With
// an argument it closes its output and stays.
// Linked statically, so that the container's root needs nothing else.
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
	(void)argv;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
	if (argc > 1) {
		fflush(stdout);
		close(1);
		close(2);
		pause();
	}
	return 0;
}
