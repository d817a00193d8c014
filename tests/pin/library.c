// A library with one of each kind of address that a linker leaves for the dynamic loader. See tests/pin.rs.
#define _GNU_SOURCE
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int of_program;               // defined in the program: GLOB_DAT, or COPY from there
int of_library = 7;                  // copied into the program
static int local = 11;
static int *const pointers[] = {&local, &of_library, &of_program}; // RELATIVE and symbolic words, RELR where asked for
static __thread int of_thread = 13;  // DTPMOD and DTPOFF, or TLSDESC
static int constructed;

static int plain(void) { return 17; }
#ifdef __x86_64__
static int (*choose(void))(void) { return plain; }
int indirect(void) __attribute__((ifunc("choose"))); // IRELATIVE
#else
int indirect(void) { return plain(); }
#endif

__attribute__((constructor)) static void start(void) { constructed = 19; }
__attribute__((destructor)) static void end(void) {
#ifndef QUIET
    puts("destroyed");
#endif
}

int callback(int (*function)(int), int value) { return function(value); }

// Depth of the stack as the unwinder sees it, through .eh_frame_hdr.
__attribute__((noinline)) int depth(int more) {
    void *frames[64];
    return more ? depth(more - 1) + (more < 0) : backtrace(frames, 64);
}

void report(void) {
    of_thread += 1;
    char *copy = strdup("text"); // lazily bound, unless told otherwise
    printf("%d %d %d %d %d %d %s %d\n", *pointers[0], *pointers[1], *pointers[2], of_thread, constructed, indirect(), copy, depth(5) > 6);
    free(copy);
}

void *place(void) { return &local; }
