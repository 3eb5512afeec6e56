// SPDX-License-Identifier: Apache-2.0 OR MIT
// The container's program: says when it is alive, by the clock that all processes of the machine share, and ends.
// Linked statically, so that the container's root needs nothing else.
#include <stdio.h>
#include <time.h>

int main(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
	return 0;
}
