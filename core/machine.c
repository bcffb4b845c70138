#include "core/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

const char *clip_machine_cpu(char *out, size_t capacity)
{
    static const char key[] = "model name"; /* "model name\t: AMD EPYC 9R14\n" */
    char line[512];
    struct utsname system;
    FILE *file = fopen("/proc/cpuinfo", "r");
    const char *name = NULL;
    while (file != NULL && name == NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || colon == NULL) continue;
        name = colon + 1 + strspn(colon + 1, " \t");
        line[strcspn(line, "\n")] = '\0';
    }
    if (file != NULL) fclose(file);
    if (name == NULL || *name == '\0') name = uname(&system) == 0 ? system.machine : "unknown";
    snprintf(out, capacity, "%s", name);
    return out;
}
