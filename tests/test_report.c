/* What is seen of a run: logs as columns, report.html, several runs in one page. */
#include "tests/support.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/markup.h"
#include "tests/small_model.h"
#include "train/history.h"
#include "train/report.h"
#include "train/trainer.h"

/* ---- history ---- */

static void logs_become_columns(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_history h;
    const char *path = test_write_text(test_folder(), "log.jsonl",
                                       "{\"step\":1,\"loss\":4.5}\n"
                                       "{\"step\":2,\"loss\":null,\"name\":\"x\",\"late\":7}\n"
                                       "{\"step\":3,\"loss\":2.5}\n"
                                       "{\"step\":4,\"los");
    test_ok(clip_history_read(&h, path, &error), &error);
    assert_int_equal(h.rows, 3);
    assert_int_equal(h.count, 3);
    const double *loss = clip_history_find(&h, "loss"), *late = clip_history_find(&h, "late");
    assert_true(loss[0] == 4.5 && isnan(loss[1]) && loss[2] == 2.5);
    assert_true(isnan(late[0]) && late[1] == 7 && isnan(late[2]));
    assert_true(clip_history_last(&h, "late") == 7);
    assert_true(isnan(clip_history_last(&h, "nothing")));
    assert_null(clip_history_find(&h, "name"));
    clip_history_release(&h);
}

static void a_log_that_is_none_is_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_history h;
    const char *folder = test_folder();
    test_ok(clip_history_read(&h, test_path(folder, "none"), &error), &error);
    assert_int_equal(h.rows, 0);
    test_fails(clip_history_read(&h, test_write_text(folder, "a", "{\"step\":1}\n[1]\n"), &error),
               &error, CLIP_ERR_FORMAT, "row 2 is no object");
    test_fails(clip_history_read(&h, test_write_text(folder, "b", "{\"step\":\n"), &error), &error,
               CLIP_ERR_FORMAT, "b");
}

/* ---- a run ---- */

static const char sentences[] = "a picture of a thing\nthe gray one\n"
                                "the <b>bold</b> & \"big\" one\n"
                                "a thing in colour\nthe gray one again\na last thing\n";

/* FOLDER/pairs.csv of six images with the sentences, one of which cannot be read. */
static void write_data(const char *folder)
{
    struct clip_error error;
    struct clip_buffer csv = {0};
    char line[256], name[32];
    const char *at = sentences;
    test_ok(clip_buffer_printf(&csv, &error, "filepath\ttitle\n"), &error);
    for (int i = 0; i < 6; i++) {
        size_t n = strcspn(at, "\n");
        snprintf(name, sizeof name, "%d.png", i);
        snprintf(line, sizeof line, "%s\t%.*s\n", name, (int)n, at);
        at += n + 1;
        test_ok(clip_buffer_append(&csv, line, strlen(line), &error), &error);
        if (i == 4)
            test_write_text(folder, name, "no image");
        else
            small_image(folder, name, 20, 24, (uint64_t)i);
    }
    test_write(folder, "pairs.csv", csv.data, csv.size);
    test_write_text(folder, "texts.txt", sentences);
    clip_buffer_release(&csv);
}

static void set(struct clip_config *config, const char *format, const char *value)
{
    struct clip_error error;
    char assignment[4200];
    snprintf(assignment, sizeof assignment, format, value);
    test_ok(clip_config_set(config, assignment, &error), &error);
}

static void configure(struct clip_config *config, const char *folder, const char *steps)
{
    static const char *const keys[] = {"model.embed_dim=8",       "model.image_size=16",
                                       "model.patch_size=8",      "model.vision_width=8",
                                       "model.vision_layers=1",   "model.vision_heads=2",
                                       "model.context_length=16", "model.vocab_size=540",
                                       "model.text_width=8",      "model.text_layers=1",
                                       "model.text_heads=2",      "train.batch_size=2",
                                       "train.val_every=2",       "train.save_every=2",
                                       "train.log_every=1",       "data.max_bad_fraction=0.5",
                                       "data.csv_separator=tab",  "train.tensorboard=true",
                                       "optim.warmup=1"};
    struct clip_error error;
    test_ok(clip_config_init(config, &error), &error);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) set(config, "%s", keys[i]);
    set(config, "data.train_data=%s", test_path(folder, "pairs.csv"));
    set(config, "data.val_data=%s", test_path(folder, "pairs.csv"));
    set(config, "data.tokenizer=%s", test_path(folder, "tokenizer.txt"));
    set(config, "train.output=%s", test_path(folder, "run"));
    set(config, "train.steps=%s", steps);
}

static void write_tokenizer(const char *folder)
{
    struct clip_error error;
    struct clip_model_file *file = small_model(1);
    const struct clip_buffer *text = &file->tokenizer->text;
    const char *path = test_path(folder, "tokenizer.txt");
    test_ok(clip_file_write(path, text->data, text->size, &error), &error);
    clip_model_file_free(file);
}

static char *page_of(const char *path)
{
    struct clip_error error;
    struct clip_buffer page = {0};
    test_ok(clip_file_read(path, 1 << 24, &page, &error), &error);
    /* one script, at the end, which adds to the page and holds none of its content */
    char *script = strstr(page.data, "<script>\n");
    assert_non_null(script);
    assert_string_equal(strstr(script, "</script>"), "</script></main></body></html>\n");
    const char *const fetches[] = {"http://", "https://", "fetch(", "import", "XMLHttp", "src="};
    for (size_t i = 0; i < sizeof fetches / sizeof fetches[0]; i++)
        assert_null(strstr(script, fetches[i]));
    strcpy(script, "</main></body></html>\n");
    markup_check(clip_path_name(path), page.data);
    /* in one file: nothing is fetched, nothing else runs */
    const char *const never[] = {
        "<script", "http://", "https://", "javascript:", "@import", "src=\"/", "href=", "onload"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_null(strstr(page.data, never[i]));
    return page.data;
}

/* Trains as `command`, with one more key set where `key` is not NULL. */
static clip_status train_as(const char *folder, const char *steps, const char *key,
                            struct clip_train_options how, struct clip_error *error)
{
    struct clip_config config;
    struct clip_train_summary summary = {0};
    how.quiet = true;
    configure(&config, folder, steps);
    if (key != NULL) set(&config, "%s", key);
    clip_status status = clip_train_run(&config, &how, &summary, error);
    clip_config_release(&config);
    return status;
}

static void train(const char *folder, const char *steps, bool resume)
{
    struct clip_error error;
    const struct clip_train_options how = {
        .resume = resume, .force = resume, .command = resume ? "again <&>" : "first"};
    test_ok(train_as(folder, steps, NULL, how, &error), &error);
}

static void has(const char *page, const char *part)
{
    if (strstr(page, part) == NULL) test_fail("the page lacks: %s", part);
}

/* The page's number in a log's column, in the table of it. */
static int rows_of(const char *page, const char *title)
{
    int rows = 0;
    const char *table = strstr(page, title), *end = NULL;
    if (table != NULL) end = strstr(table, "</tbody>");
    for (; table != NULL && table < end; table = strstr(table + 1, "<tr><td")) rows++;
    return rows - 1;
}

static void a_run_writes_a_page_and_goes_on_with_it(void **state)
{
    (void)state;
    const char *folder = test_folder();
    write_data(folder);
    write_tokenizer(folder);
    train(folder, "4", false);
    char *page = page_of(test_path(folder, "run/report.html"));
    static const char *const parts[] = {"4 of 4",
                                        "finished",
                                        ">retrieval of images by caption<",
                                        ">learning rate<",
                                        "logit scale",
                                        "pairs per second",
                                        "time taken",
                                        "validation pairs",
                                        "data:image/png;base64,iVBOR",
                                        "&lt;b&gt;bold&lt;/b&gt; &amp; &quot;big&quot;",
                                        "samples skipped",
                                        "4.png",
                                        "[optim]",
                                        "max_bad_fraction"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(page, parts[i]) == NULL) test_fail("report.html without %s", parts[i]);
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "http-equiv=\"refresh\"")); /* it is finished */
    has(page, "<span class=\"state finished\">finished</span></p>");
    has(page, ", started</p>\n<pre class=\"command\">first</pre>");
    has(page, "thread");
    has(page, clip_kernels()->name);
    has(page, "<h2>Warnings of the start</h2>");
    has(page, "samples of val_data show images that are trained on");
    assert_int_equal(rows_of(page, "Validations in numbers<"), 2);
    assert_int_equal(rows_of(page, "The training log in numbers<"), 4);
    assert_null(strstr(page, "time left"));
    free(page);
    train(folder, "8", true);
    page = page_of(test_path(folder, "run/report.html"));
    assert_non_null(strstr(page, "8 of 8"));
    has(page, "<pre class=\"command\">first</pre>");
    has(page, ", resumed at step 4</p>\n<pre class=\"command\">again &lt;&amp;&gt;</pre>");
    has(page, "samples of val_data show images that are trained on"); /* still known */
    assert_int_equal(rows_of(page, "The training log in numbers<"), 8);
    /* one curve with all eight steps, from the left edge */
    const char *curve = strstr(page, "<path class=\"run\"");
    assert_non_null(curve);
    curve = strstr(curve, " d=\"M56.0 ");
    assert_non_null(curve);
    int points = 0;
    for (const char *at = curve + 4; *at != '"'; at++) points += *at == 'M' || *at == 'L';
    assert_int_equal(points, 8);
    free(page);
}

/* A run that ends otherwise says so: by early_stop, by a signal, by a failure. */
static void an_end_is_told_from_another(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder(), *path = test_path(folder, "run/report.html");
    const volatile sig_atomic_t stop = SIGTERM;
    write_data(folder);
    write_tokenizer(folder);
    struct clip_train_options how = {.stop = &stop};
    assert_int_equal(train_as(folder, "8", NULL, how, &error), CLIP_ERR_INTERRUPTED);
    char *page = page_of(path);
    has(page, "<span class=\"state interrupted\">interrupted</span>; it goes on with --resume");
    assert_null(strstr(page, "data-refresh"));
    free(page);
    /* no learning: no validation is better than the first */
    how = (struct clip_train_options){.force = true};
    test_ok(train_as(folder, "60", "optim.lr=1e-30", how, &error), &error);
    page = page_of(path);
    has(page, "<span class=\"state finished\">finished</span></p>");
    free(page);
    struct clip_config config;
    struct clip_train_summary summary = {0};
    configure(&config, folder, "60");
    set(&config, "%s", "optim.lr=1e-30");
    set(&config, "%s", "train.early_stop=2");
    how.quiet = true;
    test_ok(clip_train_run(&config, &how, &summary, &error), &error);
    clip_config_release(&config);
    assert_true(summary.stopped_early);
    page = page_of(path);
    has(page, "<span class=\"state finished\">stopped early</span>: no better val_loss in 2 "
              "validations");
    free(page);
    how = (struct clip_train_options){.force = true};
    assert_int_not_equal(train_as(folder, "60", "data.max_bad_fraction=0", how, &error), CLIP_OK);
    page = page_of(path);
    has(page, "<span class=\"state failed\">failed</span>: ");
    has(page, "max_bad_fraction = 0 allows");
    free(page);
}

/* How a page looks while the run goes on: written here as the trainer writes it. */
static void a_running_run_tells_what_is_left(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder(), *run = test_path(folder, "run");
    write_data(folder);
    write_tokenizer(folder);
    train(folder, "2", false);
    struct clip_config config;
    struct clip_setup setup = {0};
    configure(&config, folder, "40");
    set(&config, "%s", "train.early_stop=3");
    const struct clip_train_options how = {.quiet = true};
    test_ok(clip_setup_open(&setup, &config, &how, &error), &error);
    struct clip_report facts = {.setup = &setup,
                                .folder = run,
                                .state = CLIP_REPORT_TRAINING,
                                .seconds = 3725,
                                .left = 95,
                                .step = 7,
                                .metric = "val_loss"};
    test_ok(clip_report_write(&facts, &error), &error);
    char *page = page_of(test_path(run, "report.html"));
    has(page, "<span class=\"state running\">running</span>");
    has(page, "<dt>time taken</dt><dd>1 h 02 min</dd>");
    has(page, "<dt>time left</dt><dd>at most 1 min 35 s</dd>");
    has(page, "<noscript><meta http-equiv=\"refresh\"");
    has(page, "data-refresh=\"30\"");
    free(page);
    clip_setup_release(&setup);
    clip_config_release(&config);
}

/* A resumed run's time is that of its parts together. */
static void time_goes_on(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_history log;
    const char *folder = test_folder(), *path = test_path(folder, "run/log.jsonl");
    write_data(folder);
    write_tokenizer(folder);
    train(folder, "2", false);
    test_write_text(
        test_path(folder, "run"), "log.jsonl",
        "{\"step\":1,\"loss\":3,\"seconds\":1000.5}\n{\"step\":2,\"loss\":3,\"seconds\":"
        "2000.5}\n");
    train(folder, "4", true);
    test_ok(clip_history_read(&log, path, &error), &error);
    const double *seconds = clip_history_find(&log, "seconds");
    assert_int_equal(log.rows, 4);
    assert_true(seconds[2] > 2000.5 && seconds[3] > seconds[2] && seconds[3] < 2500);
    clip_history_release(&log);
}

static void runs_stand_side_by_side(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder();
    const char *names[3] = {test_path(folder, "a"), test_path(folder, "b&b"),
                            test_path(folder, "none")};
    for (int i = 0; i < 2; i++) {
        test_ok(clip_folder_create(names[i], &error), &error);
        test_write_text(names[i], "log.jsonl",
                        i == 0 ? "{\"step\":1,\"loss\":3}\n{\"step\":9,\"loss\":2}\n"
                               : "{\"step\":1,\"loss\":5}\n{\"step\":7,\"loss\":1.5}\n");
        test_write_text(names[i], "config.ini",
                        i == 0 ? "[train]\nmulti_positive = yes\nlog_every = 1\n[optim]\nlr = "
                                 "1e-3\nwd = 1e-1\nwarmup = 5%\n"
                               : "[train]\nmulti_positive = true\nlog_every = 2\n[optim]\nlr = "
                                 "3e-4\nwd = 0.10\nwarmup = 5.0%\n");
        test_write_text(names[i], "starts.jsonl",
                        i == 0 ? "{\"command\":\"one\",\"cpu\":\"same\",\"threads\":1}\n"
                               : "{\"command\":\"<two>\",\"cpu\":\"same\",\"threads\":2}\n");
    }
    test_write_text(names[1], "metrics.jsonl",
                    "{\"step\":4,\"val_loss\":2.25,\"acc1\":0.5}\n"
                    "{\"step\":7,\"val_loss\":2.75,\"acc1\":0.25}\n");
    const char *path = test_path(folder, "compare.html");
    test_ok(clip_report_compare(names, 2, path, &error), &error);
    char *page = page_of(path);
    static const char *const parts[] = {
        "<th>best val_loss</th><td class=\"n\"></td><td class=\"n\">2.25</td>",
        "<th>best acc1</th><td class=\"n\"></td><td class=\"n\">0.5</td>",
        "<th>last loss</th><td class=\"n\">2</td><td class=\"n\">1.5</td>",
        "<th>[optim] lr</th><td class=\"n\">1e-3</td><td class=\"n\">3e-4</td>", "b&amp;b"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(page, parts[i]) == NULL) test_fail("compare.html without %s", parts[i]);
    assert_null(strstr(page, "[train] steps"));
    static const char *const equal[] = {"multi_positive", "wd", "warmup", ">cpu<"};
    for (size_t i = 0; i < sizeof equal / sizeof equal[0]; i++) assert_null(strstr(page, equal[i]));
    /* results, then what made them, then the plumbing, folded */
    const char *results = strstr(page, "best val_loss"), *lr = strstr(page, "[optim] lr"),
               *fold = strstr(page, "<details"), *log_every = strstr(page, "[train] log_every"),
               *command = strstr(page, "<td class=\"n\">&lt;two&gt;</td>");
    assert_true(results != NULL && results < lr && lr < fold && fold < log_every);
    assert_non_null(command);
    assert_true(command < strstr(fold, "</details>") && log_every < command);
    assert_true(strstr(page, "last grad_norm") == NULL || strstr(page, "last grad_norm") > fold);
    free(page);
    test_fails(clip_report_compare(names, 3, path, &error), &error, CLIP_ERR_NOT_FOUND,
               "no log.jsonl");
}

static void captions_are_ranked(void **state)
{
    (void)state;
    float cosines[] = {0.1f, 0.5f, -0.2f, 0.5f, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 1, 0};
    const struct clip_samples s = {.count = 4, .cosines = cosines};
    int64_t order[4];
    clip_samples_rank(&s, 0, order);
    assert_true(order[0] == 1 && order[1] == 3 && order[2] == 0 && order[3] == 2);
    clip_samples_rank(&s, 3, order);
    assert_true(order[0] == 0 && order[1] == 1 && order[2] == 2 && order[3] == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_become_columns),
        cmocka_unit_test(a_log_that_is_none_is_refused),
        cmocka_unit_test(a_run_writes_a_page_and_goes_on_with_it),
        cmocka_unit_test(an_end_is_told_from_another),
        cmocka_unit_test(a_running_run_tells_what_is_left),
        cmocka_unit_test(time_goes_on),
        cmocka_unit_test(runs_stand_side_by_side),
        cmocka_unit_test(captions_are_ranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
