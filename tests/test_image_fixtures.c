/* Images against Pillow, torchvision, open_clip and transformers: preprocess/ of every reference
 * set. Sizes and names come from the files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "data/image/image_formats.h"
#include "tests/support.h"

/* stb's inverse transform and chroma upsampling round differently from libjpeg-turbo's, which is
 * the reference's own: the largest difference of a sample, and the mean over an image.
 * docs/preprocessing.md has what was measured. */
#define STB_WORST 16
#define STB_MEAN 0.3

static const struct clip_image_limits usual = {.max_pixels = CLIP_IMAGE_MAX_PIXELS};
static const struct clip_image_limits upright = {.max_pixels = CLIP_IMAGE_MAX_PIXELS,
                                                 .upright = true};

static struct clip_bundle read_bundle(int root, const char *name)
{
    struct clip_bundle bundle = {0};
    struct clip_error error;
    const char *path = test_root_file(root, name);

    if (path != NULL) test_ok(clip_safetensors_read(path, &bundle, &error), &error);
    return bundle;
}

/* An image that borrows a tensor's [H,W,3] bytes. */
static struct clip_image image_of(const struct clip_tensor *tensor)
{
    assert_int_equal(tensor->dtype, CLIP_U8);
    return (struct clip_image){tensor->shape[1], tensor->shape[0], tensor->data};
}

static void compare_jpeg(const char *name, const struct clip_image *got, const uint8_t *expected)
{
    int64_t n = got->width * got->height * 3, sum = 0;
    int worst = 0;
    bool exact = strcmp(clip_jpeg_decoder, "libjpeg-turbo") == 0;

    for (int64_t i = 0; i < n; i++) {
        int difference = abs(got->rgb[i] - expected[i]);

        /* stb_image.c tells of the column that stb gets wrong in a 4:2:2 image: the last but one
         * of the chroma's, which has an even number of them */
        bool known = !exact && i / 3 % got->width == (got->width + 1) / 2 * 2 - 2;
        if (difference > worst && !known) worst = difference;
        sum += difference;
    }
    double mean = (double)sum / (double)n;

    print_message("    %-30s largest difference %d, mean %.4f\n", name, worst, mean);
    if (exact ? worst > 0 : worst > STB_WORST || mean > STB_MEAN)
        test_fail("%s: the largest difference is %d, the mean %g", name, worst, mean);
}

static bool readable(const char *name)
{
    return clip_webp_decoder || !clip_path_has_suffix(name, ".webp");
}

static void decodes_as_pillow(void **state)
{
    (void)state;
    int64_t count = 0;

    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_error error;
        struct clip_names names = {0};
        struct clip_bundle expected = read_bundle(root, "preprocess/expected.safetensors");
        const char *folder = test_root_file(root, "preprocess/images");

        if (folder == NULL || expected.tensor_count == 0) continue;
        test_ok(clip_folder_list(folder, &names, &error), &error);
        for (int64_t i = 0; i < names.count; i++) {
            const char *name = names.names[i], *path = test_path(folder, name);
            const char *key = test_path(name, "decoded");
            const struct clip_tensor *tensor = clip_bundle_find(&expected, key);
            struct clip_image image;

            if (!readable(name)) {
                test_fails(clip_image_decode_file(path, &usual, &image, &error), &error,
                           CLIP_ERR_FORMAT, "install libwebp-dev");
                continue;
            }
            test_ok(clip_image_decode_file(path, &usual, &image, &error), &error);
            if (tensor != NULL) {
                assert_int_equal(image.width, tensor->shape[1]);
                assert_int_equal(image.height, tensor->shape[0]);
                if (clip_path_has_suffix(name, ".jpg"))
                    compare_jpeg(name, &image, tensor->data);
                else
                    test_same_u8(key, image.rgb, tensor->data, image.width * image.height * 3);
                count++;
            }
            clip_image_release(&image);
        }
        clip_names_release(&names);
        clip_bundle_release(&expected);
    }
    if (count == 0) test_skip("no preprocess/images in any reference set");
}

/* What a key's last part asks for; false for those that something else checks. */
static bool find_rules(const char *variant, int64_t size, struct clip_preprocess *out)
{
    static const struct clip_preprocess usual_rules = {
        .mean = {0.48145466f, 0.4578275f, 0.40821073f},
        .std = {0.26862954f, 0.26130258f, 0.27577711f},
    };

    *out = usual_rules;
    out->image_size = size;
    if (strncmp(variant, "hi8.", 4) == 0) variant += 4;
    if (strncmp(variant, "bilinear", 8) == 0)
        out->interpolation = CLIP_BILINEAR;
    else if (strncmp(variant, "squash", 6) == 0)
        out->resize_mode = CLIP_RESIZE_SQUASH;
    else if (strncmp(variant, "longest", 7) == 0)
        out->resize_mode = CLIP_RESIZE_LONGEST;
    else if (strncmp(variant, "hf_pil", 6) == 0)
        out->crop = CLIP_CROP_HUGGINGFACE;
    else if (strncmp(variant, "bicubic", 7) != 0 && strncmp(variant, "upright", 7) != 0)
        return false;
    return true;
}

/* The image before resizing: `decoded` where the file has it, else what we decode (not a JPEG).
 * *owned is to be released. */
static struct clip_image source_of(int root, const struct clip_bundle *expected, const char *name,
                                   const char *variant, struct clip_image *owned)
{
    struct clip_error error;
    const char *kind = strncmp(variant, "hi8.", 4) == 0 ? "hi8.decoded" : "decoded";
    const struct clip_tensor *decoded = clip_bundle_find(expected, test_path(name, kind));
    const char *path = test_path(test_root(root), test_path("preprocess/images", name));
    struct clip_image image;

    if (decoded != NULL) {
        image = image_of(decoded);
    } else {
        test_ok(clip_image_decode_file(path, &usual, owned, &error), &error);
        image = *owned;
    }
    if (strncmp(variant, "upright", 7) == 0) {
        struct clip_buffer bytes = {0};
        int orientation = 0;

        test_ok(clip_file_read(path, SIZE_MAX, &bytes, &error), &error);
        clip_image_decoder *decode = clip_path_has_suffix(name, ".webp") ? clip_webp_decode
                                                                         : clip_jpeg_decode;
        test_ok(decode((struct clip_image_bytes){(uint8_t *)bytes.data, bytes.size}, &usual, owned,
                       &orientation, &error),
                &error);
        clip_buffer_release(&bytes);
        assert_in_range(orientation, 2, 8);
        memcpy(owned->rgb, image.rgb, (size_t)(image.width * image.height * 3));
        test_ok(clip_image_turn(owned, orientation, &error), &error);
        image = *owned;
    }
    return image;
}

static bool compare_variant(int root, const struct clip_bundle *expected,
                            const struct clip_bundle_tensor *entry)
{
    struct clip_error error;
    const char *slash = strrchr(entry->name, '/'), *variant = slash + 1;
    bool floats = entry->tensor.dtype == CLIP_F32;
    int64_t S = entry->tensor.shape[1];
    struct clip_preprocess rules;
    char name[256];
    struct clip_image owned = {0}, image;

    if (!find_rules(variant, S, &rules)) return false;
    snprintf(name, sizeof name, "%.*s", (int)(slash - entry->name), entry->name);
    if (!readable(name) && (clip_bundle_find(expected, test_path(name, "decoded")) == NULL ||
                            strncmp(variant, "upright", 7) == 0))
        return false;
    image = source_of(root, expected, name, variant, &owned);
    uint8_t *pixels = clip_array_new(S * S, 3, &error);
    assert_non_null(pixels);
    test_ok(clip_preprocess_image(&rules, &image, pixels, &error), &error);
    if (floats) {
        float *got = clip_array_new(S * S * 3, sizeof *got, &error);

        assert_non_null(got);
        clip_preprocess_normalise(&rules, pixels, got);
        test_close(entry->name, got, entry->tensor.data, S * S * 3, 0, 1e-6);
        free(got);
    } else {
        test_same_u8(entry->name, pixels, entry->tensor.data, S * S * 3);
    }
    free(pixels);
    clip_image_release(&owned);
    return true;
}

static void preprocesses_exactly(void **state)
{
    (void)state;
    int64_t count = 0, left = 0;

    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_bundle expected = read_bundle(root, "preprocess/expected.safetensors");

        for (int64_t i = 0; i < expected.tensor_count; i++) {
            if (strchr(expected.tensors[i].name, '/') == NULL) continue;
            if (compare_variant(root, &expected, &expected.tensors[i]))
                count++;
            else
                left++;
        }
        clip_bundle_release(&expected);
    }
    print_message("    %lld results equal; %lld entries are inputs or of another order of steps\n",
                  (long long)count, (long long)left);
    if (count == 0) test_skip("no preprocess/expected.safetensors in any reference set");
}

/* r0.src, r0.bicubic, r0.bilinear, ...: Image.resize itself, with one channel and with three. */
static void resizes_exactly(void **state)
{
    (void)state;
    int64_t count = 0;

    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_bundle cases = read_bundle(root, "preprocess/resize.safetensors");

        for (int64_t i = 0; i < cases.tensor_count; i++) {
            const char *name = cases.tensors[i].name, *dot = strrchr(name, '.');
            const struct clip_tensor *to = &cases.tensors[i].tensor, *from;
            struct clip_error error;
            char source[64];
            uint8_t *got;

            if (dot == NULL || strcmp(dot, ".src") == 0) continue;
            snprintf(source, sizeof source, "%.*s.src", (int)(dot - name), name);
            from = clip_bundle_find(&cases, source);
            assert_non_null(from);
            got = clip_array_new(clip_tensor_count(to), 1, &error);
            assert_non_null(got);
            const struct clip_resize resize = {
                .src = from->data,
                .src_width = from->shape[1],
                .src_height = from->shape[0],
                .stride = from->shape[1] * from->shape[2],
                .channels = (int)from->shape[2],
                .interpolation = strcmp(dot, ".bilinear") == 0 ? CLIP_BILINEAR : CLIP_BICUBIC,
                .box = {0, 0, (double)from->shape[1], (double)from->shape[0]},
                .width = to->shape[1],
                .height = to->shape[0],
                .w = to->shape[1],
                .h = to->shape[0],
            };
            test_ok(clip_resize_part(got, &resize, &error), &error);
            test_same_u8(name, got, to->data, clip_tensor_count(to));
            free(got);
            count++;
        }
        clip_bundle_release(&cases);
    }
    if (count == 0) test_skip("no preprocess/resize.safetensors in any reference set");
}

/* A side that would become 0 is refused, where the reference has no result for the same reason. */
static void refuses_a_side_of_nothing(void **state)
{
    (void)state;
    uint8_t *row, out[64 * 64 * 3];
    struct clip_error error;
    struct clip_preprocess rules = {.image_size = 64, .resize_mode = CLIP_RESIZE_LONGEST};
    struct clip_image image = {.width = 2000, .height = 3};

    row = image.rgb = clip_array_new(2000 * 3, 3, &error);
    assert_non_null(row);
    test_fails(clip_preprocess_image(&rules, &image, out, &error), &error, CLIP_ERR_DATA,
               "2000 x 3");
    free(row);
}

/* Does the EXIF orientation of the JPEG at `path` exchange the sides? 5 to 8 do. */
static bool exchanges_sides(const char *path)
{
    static const unsigned char tag[] = {0x12, 0x01, 3, 0, 1, 0, 0, 0}, big[] = {0x01, 0x12, 0, 3};
    struct clip_buffer file = {0};
    struct clip_error error;
    int orientation = 0;
    test_ok(clip_file_read(path, 1 << 26, &file, &error), &error);
    const unsigned char *at = (const unsigned char *)file.data;
    for (size_t i = 0; i + 12 < file.size && i < 65536 && orientation == 0; i++) {
        if (memcmp(at + i, tag, sizeof tag) == 0) orientation = at[i + 8];
        if (memcmp(at + i, big, sizeof big) == 0) orientation = at[i + 9];
    }
    clip_buffer_release(&file);
    return orientation >= 5;
}

/* The whole way with EXIF's orientation: the image is the turned one, and its sides are exchanged
 * if the orientation says so. */
static void turns_upright(void **state)
{
    (void)state;
    int64_t count = 0;

    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_bundle expected = read_bundle(root, "preprocess/expected.safetensors");

        for (int64_t i = 0; i < expected.tensor_count; i++) {
            const char *slash = strrchr(expected.tensors[i].name, '/');
            struct clip_image as_stored, turned;
            struct clip_error error;
            char file[256];

            if (slash == NULL || strncmp(slash, "/upright", 8) != 0) continue;
            snprintf(file, sizeof file, "preprocess/images/%.*s",
                     (int)(slash - expected.tensors[i].name), expected.tensors[i].name);
            const char *path = test_path(test_root(root), file);
            if (!readable(path)) continue;
            test_ok(clip_image_decode_file(path, &usual, &as_stored, &error), &error);
            test_ok(clip_image_decode_file(path, &upright, &turned, &error), &error);
            bool exchanged = exchanges_sides(path);
            assert_int_equal(turned.width, exchanged ? as_stored.height : as_stored.width);
            assert_int_equal(turned.height, exchanged ? as_stored.width : as_stored.height);
            clip_image_release(&as_stored);
            clip_image_release(&turned);
            count++;
        }
        clip_bundle_release(&expected);
    }
    if (count == 0) test_skip("no image with an orientation in any reference set");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_pillow), cmocka_unit_test(preprocesses_exactly),
        cmocka_unit_test(resizes_exactly),   cmocka_unit_test(refuses_a_side_of_nothing),
        cmocka_unit_test(turns_upright),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
