/* TEST_ONLY='*png*' build/tests/test_image: of each group, only the tests whose names match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void __attribute__((constructor)) choose_tests(void)
{
    const char *pattern = getenv("TEST_ONLY");
    if (pattern != NULL && *pattern != '\0') cmocka_set_test_filter(pattern);
}
