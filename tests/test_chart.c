/* Charts as SVG. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/chart.h"
#include "tests/markup.h"

static int count_of(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) n++;
    return n;
}

static char *draw(const struct clip_chart *chart)
{
    struct clip_error error;
    struct clip_buffer out = {0};
    test_ok(clip_chart_append(&out, chart, &error), &error);
    markup_check("chart", out.data);
    return out.data;
}

static void a_line_goes_where_its_values_are(void **state)
{
    (void)state;
    const double x[] = {0, 50, 100}, y[] = {0, 4, 1};
    const struct clip_chart_series series = {"loss", x, y, 3, -1};
    const struct clip_chart chart = {"loss", "steps", &series, 1, false};
    char *svg = draw(&chart);
    /* the plane is 56 to 368 across and 192 up to 32, values 0 to 4 */
    assert_non_null(strstr(svg, "d=\"M56.0 192.0L212.0 32.0L368.0 152.0\""));
    assert_non_null(strstr(svg, ">loss  <tspan class=\"value\">1</tspan></text>"));
    assert_null(strstr(svg, "data-"));
    assert_non_null(strstr(svg, "<title>loss by steps</title>"));
    free(svg);
}

static void values_that_are_not_finite_break_the_line(void **state)
{
    (void)state;
    const double x[] = {0, 1, 2, 3, 4}, y[] = {1, 2, NAN, 3, INFINITY};
    const struct clip_chart_series series = {"a", x, y, 5, -1};
    const struct clip_chart chart = {"a", "steps", &series, 1, true};
    char *svg = draw(&chart);
    assert_int_equal(count_of(strstr(svg, " d=\""), "M"), 2);
    assert_int_equal(count_of(svg, "<circle"), 3);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    free(svg);
}

static void a_spike_among_many_values_is_drawn(void **state)
{
    (void)state;
    enum { MANY = 50000 };
    double *x = calloc(MANY, sizeof *x), *y = calloc(MANY, sizeof *y);
    assert_true(x != NULL && y != NULL);
    for (int i = 0; i < MANY; i++) x[i] = i;
    y[31234] = 10;
    const struct clip_chart_series series = {"a", x, y, MANY, -1};
    const struct clip_chart chart = {"a", "steps", &series, 1, false};
    char *svg = draw(&chart);
    assert_true(strlen(svg) < 40000);
    assert_non_null(strstr(svg, " 32.0L")); /* the top */
    free(svg);
    free(x);
    free(y);
}

static void a_script_finds_the_numbers(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    const double x[] = {0, 50, 100}, y[] = {0.1234567, NAN, 1e-9};
    struct clip_chart_series series = {"loss", x, y, 3, -1};
    const struct clip_chart chart = {"loss", "steps", &series, 1, false, true};
    char *svg = draw(&chart);
    assert_non_null(strstr(svg, " data-box=\"56 32 312 160\" data-x=\"0 100\" data-y=\"0 0.14\""));
    assert_non_null(strstr(svg, " data-x=\"0 50 100\" data-y=\"0.123457 - 1e-09\"/>"));
    free(svg);
    double *many = calloc(MANY, sizeof *many);
    assert_non_null(many);
    for (int i = 0; i < MANY; i++) many[i] = i;
    series = (struct clip_chart_series){"loss", many, many, MANY, -1};
    svg = draw(&chart);
    assert_non_null(strstr(svg, " data-x=\"0 3 6 9 ")); /* every third: 2,000 at most */
    free(svg);
    free(many);
}

static void nothing_and_one_value_can_be_drawn(void **state)
{
    (void)state;
    const double x[] = {7}, y[] = {3};
    struct clip_chart_series series = {"a", x, y, 0, -1};
    const struct clip_chart chart = {"a", "steps", &series, 1, false};
    free(draw(&chart));
    series.n = 1;
    char *svg = draw(&chart);
    assert_null(strstr(svg, "nan"));
    free(svg);
}

static void names_are_text(void **state)
{
    (void)state;
    struct clip_error error;
    const double x[] = {0, 1}, y[] = {1e-5, 3e-5};
    const struct clip_chart_series series[] = {{"<script>&\"a\"</script>", x, y, 2, -1},
                                               {"b", x, y, 2, -1}};
    const struct clip_chart chart = {"a < b", "steps", series, 2, false};
    char *svg = draw(&chart);
    assert_null(strstr(svg, "<script"));
    assert_non_null(strstr(svg, "&lt;script&gt;&amp;&quot;a&quot;"));
    assert_non_null(strstr(svg, "var(--c1)"));
    free(svg);
    const char *path = test_path(test_folder(), "a.svg");
    struct clip_buffer file = {0};
    test_ok(clip_chart_file(path, &chart, &error), &error);
    test_ok(clip_file_read(path, 1 << 20, &file, &error), &error);
    markup_check("a.svg", file.data);
    assert_non_null(strstr(file.data, "xmlns="));
    clip_buffer_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_goes_where_its_values_are),
        cmocka_unit_test(values_that_are_not_finite_break_the_line),
        cmocka_unit_test(a_spike_among_many_values_is_drawn),
        cmocka_unit_test(a_script_finds_the_numbers),
        cmocka_unit_test(nothing_and_one_value_can_be_drawn),
        cmocka_unit_test(names_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
