/* Starts Python three times in one process, one life after the other; imports a module each time. */
#include <Python.h>

int main(int argc, char **argv)
{
    static const char *const code =
        "import sys, app.mod, app.sub.leaf, single\n"
        "assert app.mod.greet('embedded').startswith('Hello, embedded')\n"
        "sys.intern(app.mod.TEXT)\n"
        "print(type(app.mod.__loader__).__module__, flush=True)\n";
    int life, failed = 0;
    (void)argc;
    (void)argv;
    for (life = 0; life < 3 && !failed; life++) {
        Py_Initialize();
        failed = PyRun_SimpleString(code);
        if (Py_FinalizeEx() < 0)
            failed = 1;
    }
    return failed != 0;
}
