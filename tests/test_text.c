/* Cleaning: Unicode's canonical composition, lower case with the final sigma, white space, HTML's
 * character references as Python reads them, ftfy's repairs. Expected values: Python 3.11 and ftfy
 * 6.3.1, typed in. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/text/html_entities.h"
#include "data/text/text_clean.h"

typedef clip_status (*point_step)(struct clip_points *text, struct clip_error *error);

/* `step` on text gives expected. */
static void gives(const char *name, point_step step, const char *text, const char *expected)
{
    struct clip_points points = {0};
    struct clip_buffer out = {0};
    struct clip_error error;
    test_ok(clip_points_decode(&points, text, strlen(text), &error), &error);
    test_ok(step(&points, &error), &error);
    test_ok(clip_points_encode(&points, &out, &error), &error);
    const char *got = out.size > 0 ? out.data : "";
    if (strcmp(got, expected) != 0) {
        test_fail("%s(\"%s\") is \"%s\", expected \"%s\"", name, text, got, expected);
    }
    clip_points_release(&points);
    clip_buffer_release(&out);
}

static void cleans(enum clip_text_cleaning cleaning, const char *text, const char *expected)
{
    struct clip_buffer out = {0};
    struct clip_error error;
    test_ok(clip_text_clean(text, strlen(text), cleaning, &out, &error), &error);
    const char *got = out.size > 0 ? out.data : "";
    if (strcmp(got, expected) != 0) {
        test_fail("\"%s\" becomes \"%s\", expected \"%s\"", text, got, expected);
    }
    clip_buffer_release(&out);
}

static void utf8_round_trip(void **state)
{
    (void)state;
    struct clip_points points = {0};
    struct clip_buffer out = {0};
    struct clip_error error;
    for (int32_t point = 0; point <= 0x10FFFF; point++) {
        if (point < 0xD800 || point > 0xDFFF) {
            test_ok(clip_points_add(&points, point, &error), &error);
        }
    }
    test_ok(clip_points_encode(&points, &out, &error), &error);
    assert_int_equal(out.size, 0x80 + 2 * 0x780 + 3 * (0xF800 - 0x800) + 4 * 0x100000);
    struct clip_points again = {0};
    test_ok(clip_points_decode(&again, out.data, out.size, &error), &error);
    assert_int_equal(again.count, points.count);
    assert_memory_equal(again.at, points.at, (size_t)points.count * sizeof *points.at);
    clip_points_release(&points);
    clip_points_release(&again);
    clip_buffer_release(&out);
}

static void bytes_that_are_not_utf8(void **state)
{
    (void)state;
    const struct {
        const char *text, *word;
    } cases[] = {
        {"ab\xFFzz", "byte 2 (0xFF)"},         {"\xC0\x80", "byte 0 (0xC0)"},
        {"a\xC1\xBF", "byte 1 (0xC1)"},        {"a\xE0\x80\x80", "byte 1 (0xE0)"},
        {"\xED\xA0\x80", "byte 0 (0xED)"},     {"\xF0\x80\x80\x80", "byte 0 (0xF0)"},
        {"\xF4\x90\x80\x80", "byte 0 (0xF4)"}, {"\xF5\x80\x80\x80", "byte 0 (0xF5)"},
        {"abc\xE4\xB8", "byte 3 (0xE4)"},      {"\xC3", "byte 0 (0xC3)"},
        {"\xC3\x28", "byte 0 (0xC3)"},         {"\xE4\xBD\xA0\x80", "byte 3 (0x80)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct clip_points points = {0};
        struct clip_error error;
        test_fails(clip_points_decode(&points, cases[i].text, strlen(cases[i].text), &error),
                   &error, CLIP_ERR_DATA, cases[i].word);
        clip_points_release(&points);
    }
}

static void composition(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"cafe\xCC\x81", "caf\xC3\xA9"},
        {"a\xCC\xA3\xCC\x87", "\xE1\xBA\xA1\xCC\x87"},            /* dot below, then above */
        {"a\xCC\x87\xCC\xA3", "\xE1\xBA\xA1\xCC\x87"},            /* the same the other way */
        {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"}, /* Hangul */
        {"\xE2\x84\xAB", "\xC3\x85"},                             /* angstrom sign */
        {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"},             /* an excluded composition */
        {"\xEF\xA5\xB9", "\xE5\x87\x89"},                         /* a compatibility ideograph */
        {"\xEF\xAC\x81", "\xEF\xAC\x81"},                         /* the fi ligature stays */
        {"\xCD\x84", "\xCC\x88\xCC\x81"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gives("compose", clip_points_compose, cases[i][0], cases[i][1]);
    }
}

static clip_status lower_final(struct clip_points *text, struct clip_error *error)
{
    return clip_points_lower(text, true, error);
}

static clip_status lower_plain(struct clip_points *text, struct clip_error *error)
{
    return clip_points_lower(text, false, error);
}

static void lower_case(void **state)
{
    (void)state;
    gives("lower", lower_plain, "ABC \xC3\x89 \xC4\xB0", "abc \xC3\xA9 i\xCC\x87");
    gives("lower", lower_plain, "\xE1\xBA\x9E \xE2\x84\xAA \xC7\x85", "\xC3\x9F k \xC7\x86");
    gives("lower", lower_plain, "\xF0\x90\x90\x80", "\xF0\x90\x90\xA8"); /* Deseret */
    gives("lower", lower_plain, "\xCE\x91\xCE\xA3", "\xCE\xB1\xCF\x83");
    /* Final: after a letter and before none; ' . and marks are passed over; alone it is not. */
    gives("lower", lower_final, "\xCE\x91\xCE\xA3", "\xCE\xB1\xCF\x82");
    gives("lower", lower_final, "\xCE\x91\xCE\xA3\xCE\x91", "\xCE\xB1\xCF\x83\xCE\xB1");
    gives("lower", lower_final, "\xCE\xA3", "\xCF\x83");
    gives("lower", lower_final, "\xCE\x91\xCE\xA3.", "\xCE\xB1\xCF\x82.");
    gives("lower", lower_final, "\xCE\x91\xCE\xA3.\xCE\x91", "\xCE\xB1\xCF\x83.\xCE\xB1");
    gives("lower", lower_final, "A'\xCE\xA3'1", "a'\xCF\x82'1");
    gives("lower", lower_final, "1\xCE\xA3", "1\xCF\x83");
    gives("lower", lower_final, "\xE2\x93\x90\xCE\xA3", "\xE2\x93\x90\xCF\x82"); /* circled a */
    gives("lower", lower_final, "\xE4\xBD\xA0\xCE\xA3", "\xE4\xBD\xA0\xCF\x83");
}

static void white_space(void **state)
{
    (void)state;
    int python = 0, unicode = 0;
    for (int32_t point = 0; point <= 0x10FFFF; point++) {
        python += clip_point_is_space(point, true);
        unicode += clip_point_is_space(point, false);
    }
    assert_int_equal(python, 29);
    assert_int_equal(unicode, 25);
    cleans(CLIP_TEXT_HUGGINGFACE, " \t a\xC2\xA0\n b\xE3\x80\x80 ", "a b");
    cleans(CLIP_TEXT_HUGGINGFACE,
           "a\x1C"
           "b\xE1\xA0\x8E",
           "a\x1C"
           "b\xE1\xA0\x8E");
    cleans(CLIP_TEXT_OPEN_CLIP, "\r\n a\xE2\x80\xA8 b\f", "a b");
    cleans(CLIP_TEXT_OPEN_CLIP, "", "");
    cleans(CLIP_TEXT_OPEN_CLIP, " \n ", "");
}

static void entities_are_sorted(void **state)
{
    (void)state;
    int bare = 0;
    for (int i = 0; i < clip_html_entity_count; i++) {
        const struct clip_html_entity *entity = &clip_html_entities[i];
        assert_in_range(strlen(entity->name), 2, 31);
        assert_in_range(entity->points[0], 1, 0x10FFFF);
        if (i > 0) assert_true(strcmp(clip_html_entities[i - 1].name, entity->name) < 0);
        bare += entity->bare;
    }
    assert_int_equal(clip_html_entity_count, 2125);
    assert_int_equal(bare, 106);
}

static void character_references(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"&amp;", "&"},
        {"&amp", "&"},
        {"&ampx", "&x"},
        {"&AMP;&lt&GT", "&<>"},
        {"&", "&"},
        {"&;", "&;"},
        {"&&amp;", "&&"},
        {"& amp;", "& amp;"},
        {"&unknown;", "&unknown;"},
        {"&notit;", "\xC2\xACit;"},
        {"&notin;", "\xE2\x88\x89"},
        {"&copy 1", "\xC2\xA9 1"},
        {"&fjlig;", "fj"},
        {"&NotEqualTilde;", "\xE2\x89\x82\xCC\xB8"},
        {"&CounterClockwiseContourIntegral;", "\xE2\x88\xB3"},
        {"&CounterClockwiseContourIntegralx;", "&CounterClockwiseContourIntegralx;"},
        {"&Eacute;&EACUTE;", "\xC3\x89&EACUTE;"},
        {"&#65;&#65 &#x41;&#X41;&#x41g", "AA AAAg"},
        {"&#;&#x;&#", "&#;&#x;&#"},
        {"&#0;&#55296;&#x110000;&#99999999999999999999;",
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"&#128;&#x9f;&#129;", "\xE2\x82\xAC\xC5\xB8\xC2\x81"},
        {"a&#1;b&#xFDD0;c&#x1FFFE;d&#11;e&#127;f", "abcdef"},
        {"&#9;&#10;&#12;&#13;", "\t\n\f\r"},
        {"&amp;amp;", "&amp;"},
        {"caf&eacute;s", "caf\xC3\xA9s"},
        {"&#128512;", "\xF0\x9F\x98\x80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gives("unescape", clip_text_unescape, cases[i][0], cases[i][1]);
    }
}

static void careful_character_references(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"&amp;", "&"},
        {"&amp", "&amp"},
        {"&notit;", "&notit;"},
        {"P&EACUTE;REZ", "P\xC3\x89REZ"},
        {"&SZLIG;&NTILDE;&nTILDE;", "SS\xC3\x91&nTILDE;"},
        {"&#65;&#65", "A&#65"},
        {"&#12abc;", "&#12abc;"},
        {"&#59;", "&#59;"},
        {"&#1;", ""},
        {"&NOTIN;&LTIMES;", "\xE2\x88\x89&LTIMES;"},
        {"&&lt;", "&<"},
        {"&;&#;", "&;&#;"},
        {"&frac12;&FRAC12;", "\xC2\xBD\xC2\xBD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gives("unescape_strict", clip_text_unescape_strict, cases[i][0], cases[i][1]);
    }
}

static void repairs(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"\xE2\x80\x98"
         "a\xE2\x80\x99 \xE2\x80\x9C"
         "b\xE2\x80\x9D \xCA\xBC",
         "'a' \"b\" '"},
        {"\xEF\xAC\x81\xEF\xAC\x83\xEF\xAC\x85\xEF\xAC\x86", "fiffi\xC5\xBFtst"},
        {"\xC4\xB2\xC5\x89\xC7\x85", "IJ'nD\xC5\xBE"},
        {"\xEF\xBC\xA1\xEF\xBC\x91\xEF\xBC\x81\xE3\x80\x80", "A1! "},
        {"\xEF\xBD\xB6\xEF\xBE\x9E", "\xE3\x82\xAC"}, /* half-width ka and its voice mark */
        {"\xEF\xBF\xA3", " \xCC\x84"},
        {"a\r\nb\rc\xE2\x80\xA8"
         "d",
         "a\nb\nc\nd"},
        {"\x1B[31mred\x1B[0m \x1B[;", "red [;"},
        {"a\x07"
         "b\x0B"
         "c\x7F",
         "abc"},
        {"\xEF\xBB\xBF"
         "bom\xEF\xBF\xB9\xEF\xBF\xBC",
         "bom"},
        {"a\xC2\x80\xC2\x93\xC2\x85\xC2\x81", "a\xE2\x82\xAC\"\xE2\x80\xA6\xC2\x81"},
        {"&amp;quot;", "\""},
        {"<b>&amp;", "<b>&amp;"},
        {"&amp;\n<\n&amp;", "&\n<\n&amp;"},
        {"&lt;&amp;", "<&"},
        {"e\xCC\x81", "\xC3\xA9"},
        {"", ""},
        {"sch\xC3\x83\xC2\xB6n", "sch\xC3\x83\xC2\xB6n"}, /* wrongly decoded: left as it is */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gives("repair", clip_text_repair, cases[i][0], cases[i][1]);
    }
}

static void cleaned_text(void **state)
{
    (void)state;
    cleans(CLIP_TEXT_OPEN_CLIP, "Tom &amp; Jerry&#8217;s  CAF&EACUTE;",
           "tom & jerry's caf\xC3\xA9");
    cleans(CLIP_TEXT_OPEN_CLIP, "&lt;b&gt; x&nbsp;y", "<b> x y");
    cleans(CLIP_TEXT_OPEN_CLIP, "<p>&amp;amp;lt;</p>", "<p>&lt;</p>"); /* twice, not more */
    cleans(CLIP_TEXT_HUGGINGFACE, "Tom &amp; Jerry\xE2\x80\x99s", "tom &amp; jerry\xE2\x80\x99s");
    cleans(CLIP_TEXT_HUGGINGFACE, "CAFE\xCC\x81 \xCE\x91\xCE\xA3", "caf\xC3\xA9 \xCE\xB1\xCF\x83");
}

/* open_clip.tokenizer.get_clean_fn("canonicalize") of open_clip 3.3. */
static void canonicalized_text(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"A photo_of  a {cat}, isn't it?", "a photo of a cat isnt it"},
        {"&lt;b&gt; Tom &amp; Jerry\xE2\x80\x99s", "b tom jerrys"},
        {"__a__b--c", "a bc"},
        {"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", ""},
        {"\xC2\xA1Hola \xE7\x8B\x97\xE3\x80\x82", "\xC2\xA1hola \xE7\x8B\x97\xE3\x80\x82"},
        {"\xCE\x91\xCE\xA3.\xCE\x91", "\xCE\xB1\xCF\x83\xCE\xB1"},
        {"3.5 C\t+ 2\n", "35 c 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleans(CLIP_TEXT_CANONICALIZE, cases[i][0], cases[i][1]);
    }
}

/* Time is linear in the text, also for a text made to be slow. */
static void hostile_text_is_not_slow(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    const char *const units[] = {"\xCC\x87\xCC\xA3",
                                 "&amp;",
                                 "&",
                                 "amp;",
                                 "\x1B[",
                                 "\xCE\xA3'",
                                 "\n",
                                 "&#",
                                 "<|startoftext|>",
                                 "&CounterClockwiseContourIntegra"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        char *text = malloc(SIZE);
        assert_non_null(text);
        size_t unit = strlen(units[u]), n = 0;
        text[n++] = '&';
        while (n + unit <= SIZE) {
            memcpy(text + n, units[u], unit);
            n += unit;
        }
        for (int cleaning = 0; cleaning < 2; cleaning++) {
            struct clip_buffer out = {0};
            struct clip_error error;
            clock_t start = clock(); /* the processor's time: others may be busy */
            test_ok(clip_text_clean(text, n, cleaning, &out, &error), &error);
            if (clock() - start > 10 * CLOCKS_PER_SEC) {
                test_fail("\"%s\" again and again is slow", units[u]);
            }
            clip_buffer_release(&out);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_round_trip),
        cmocka_unit_test(bytes_that_are_not_utf8),
        cmocka_unit_test(composition),
        cmocka_unit_test(lower_case),
        cmocka_unit_test(white_space),
        cmocka_unit_test(entities_are_sorted),
        cmocka_unit_test(character_references),
        cmocka_unit_test(careful_character_references),
        cmocka_unit_test(repairs),
        cmocka_unit_test(cleaned_text),
        cmocka_unit_test(canonicalized_text),
        cmocka_unit_test(hostile_text_is_not_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
