// Uses the library. See tests/pin.rs.
#include <stdio.h>

extern int of_library;
int callback(int (*function)(int), int value);
void report(void);
void *place(void);

int of_program = 23;
static int own(int value) { return value + of_library; }
static int (*const functions[])(int) = {own}; // a RELATIVE word of the program's own

int main(int argc, char **argv) {
    report();
    printf("%d %s\n", callback(functions[0], argc), argv[1]);
    printf("at %p %p\n", place(), (void *)&of_program);
    return 0;
}
