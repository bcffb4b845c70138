/* With how many pixels an image is coded in HEVC or AV1, read from its first bits, before a decoder
 * takes memory for them. */
#include <string.h>

#include "data/image/image_formats.h"

#define LARGEST_SIDE ((uint64_t)1 << 30)

struct bits {
    const uint8_t *bytes;
    size_t size, at; /* bytes, bits */
    bool short_of;   /* more was asked for than there is */
};

static uint64_t read_bits(struct bits *bits, int n)
{
    uint64_t value = 0;

    for (; n > 0; n--, bits->at++) {
        if (bits->at / 8 >= bits->size) {
            bits->short_of = true;
            return 0;
        }
        value = value << 1 | (bits->bytes[bits->at / 8] >> (7 - bits->at % 8) & 1);
    }
    return value;
}

static bool flag(struct bits *bits) { return read_bits(bits, 1) != 0; }

/* Zeros, a one, and as many bits as there were zeros: H.265's ue(v), AV1's uvlc(). */
static uint64_t read_exponential(struct bits *bits)
{
    int zeros = 0;

    while (zeros < 32 && !bits->short_of && !flag(bits)) zeros++;
    return ((uint64_t)1 << zeros) - 1 + read_bits(bits, zeros);
}

void clip_coded_size_add(struct clip_coded_size *largest, uint64_t width, uint64_t height)
{
    int64_t w = (int64_t)(width < LARGEST_SIDE ? width : LARGEST_SIDE);
    int64_t h = (int64_t)(height < LARGEST_SIDE ? height : LARGEST_SIDE);

    if (w * h <= largest->width * largest->height) return;
    largest->width = w;
    largest->height = h;
}

/* ---- HEVC (H.265, 7.3.2.2 and 7.3.3) ---- */

/* Profiles, tiers and levels: 96 bits, and for each sub-layer what its two flags say. */
static void skip_profiles(struct bits *bits, int sub_layers)
{
    bool profile[8] = {false}, level[8] = {false};

    bits->at += 96;
    for (int i = 0; i < sub_layers; i++) {
        profile[i] = flag(bits);
        level[i] = flag(bits);
    }
    if (sub_layers > 0) read_bits(bits, 2 * (8 - sub_layers));
    for (int i = 0; i < sub_layers; i++) bits->at += (profile[i] ? 88u : 0u) + (level[i] ? 8u : 0u);
}

void clip_hevc_size(struct clip_image_bytes unit, struct clip_coded_size *largest)
{
    uint8_t plain[512];
    size_t n = 0;
    int zeros = 0;

    /* a sequence parameter set of the base layer */
    if (unit.size < 2 || (unit.data[0] & 0x7f) != 33 << 1 || unit.data[1] >> 3 != 0) return;
    for (size_t i = 2; i < unit.size && n < sizeof plain; i++) {
        if (zeros >= 2 && unit.data[i] == 3) { /* it was put in so that no start code appears */
            zeros = 0;
            continue;
        }
        zeros = unit.data[i] == 0 ? zeros + 1 : 0;
        plain[n++] = unit.data[i];
    }
    struct bits bits = {.bytes = plain, .size = n};
    read_bits(&bits, 4);
    int sub_layers = (int)read_bits(&bits, 3);
    flag(&bits);
    skip_profiles(&bits, sub_layers);
    read_exponential(&bits);
    if (read_exponential(&bits) == 3) flag(&bits);
    uint64_t width = read_exponential(&bits);
    uint64_t height = read_exponential(&bits);
    if (!bits.short_of) clip_coded_size_add(largest, width, height);
}

/* ---- AV1 (its specification, 5.5 and 5.9) ---- */

enum obu { SEQUENCE_HEADER = 1, FRAME_HEADER = 3, FRAME = 6 };
enum { KEY_FRAME = 0, SWITCH_FRAME = 3, CHOSEN = 2 };

struct sequence {
    bool known, reduced, decoder_model, equal_interval;
    int delay_bits, time_bits, id_bits; /* id_bits 0: frames have no numbers */
    int width_bits, height_bits;
    uint64_t screen_content, integer_vectors; /* 0, 1, or CHOSEN by each frame */
};

static void read_timing(struct bits *bits, struct sequence *s)
{
    read_bits(bits, 64);
    s->equal_interval = flag(bits);
    if (s->equal_interval) read_exponential(bits);
    s->decoder_model = flag(bits);
    if (!s->decoder_model) return;
    s->delay_bits = (int)read_bits(bits, 5) + 1;
    read_bits(bits, 32 + 5);
    s->time_bits = (int)read_bits(bits, 5) + 1;
}

static void skip_operating_points(struct bits *bits, const struct sequence *s)
{
    bool delays = flag(bits);
    int count = (int)read_bits(bits, 5) + 1;

    for (int i = 0; i < count; i++) {
        read_bits(bits, 12);
        if (read_bits(bits, 5) > 7) flag(bits);
        if (s->decoder_model && flag(bits)) read_bits(bits, 2 * s->delay_bits + 1);
        if (delays && flag(bits)) read_bits(bits, 4);
    }
}

/* What a frame header needs to be read, behind the sizes. */
static void read_tools(struct bits *bits, struct sequence *s)
{
    s->id_bits = 0;
    s->screen_content = s->integer_vectors = CHOSEN;
    if (s->reduced) return;
    if (flag(bits)) {
        s->id_bits = (int)read_bits(bits, 4) + 3;
        s->id_bits += (int)read_bits(bits, 3);
    }
    read_bits(bits, 3 + 4);
    if (flag(bits)) read_bits(bits, 2);
    if (!flag(bits)) s->screen_content = read_bits(bits, 1);
    if (s->screen_content > 0 && !flag(bits)) s->integer_vectors = read_bits(bits, 1);
}

static void read_sequence(struct bits *bits, struct sequence *s, struct clip_coded_size *largest)
{
    *s = (struct sequence){.known = true};
    read_bits(bits, 4);
    s->reduced = flag(bits);
    if (s->reduced) {
        read_bits(bits, 5);
    } else {
        if (flag(bits)) read_timing(bits, s);
        skip_operating_points(bits, s);
    }
    s->width_bits = (int)read_bits(bits, 4) + 1;
    s->height_bits = (int)read_bits(bits, 4) + 1;
    uint64_t width = read_bits(bits, s->width_bits) + 1;
    uint64_t height = read_bits(bits, s->height_bits) + 1;
    if (!bits->short_of) clip_coded_size_add(largest, width, height);
    read_tools(bits, s);
}

/* A frame may have a size of its own, of at most so many bits as the sequence's has. */
static void read_frame(struct bits *bits, const struct sequence *s, struct clip_coded_size *largest)
{
    if (s->reduced || flag(bits)) return; /* the second: a frame that was coded before is shown */
    int type = (int)read_bits(bits, 2);
    bool shown = flag(bits), content;
    if (shown && s->decoder_model && !s->equal_interval) read_bits(bits, s->time_bits);
    if (!shown) flag(bits);
    if (type != SWITCH_FRAME && !(type == KEY_FRAME && shown)) flag(bits);
    flag(bits);
    content = s->screen_content == CHOSEN ? flag(bits) : s->screen_content != 0;
    if (content && s->integer_vectors == CHOSEN) flag(bits);
    read_bits(bits, s->id_bits);
    if ((type == SWITCH_FRAME || flag(bits)) && !bits->short_of)
        clip_coded_size_add(largest, (uint64_t)1 << s->width_bits, (uint64_t)1 << s->height_bits);
}

bool clip_av1_size(struct clip_image_bytes data, struct clip_coded_size *largest)
{
    struct sequence sequence = {0};

    while (data.size > 0) {
        struct bits bits = {.bytes = data.data, .size = data.size};
        flag(&bits);
        int type = (int)read_bits(&bits, 4);
        bool more = flag(&bits), sized = flag(&bits);
        uint64_t n = 0, byte = 0x80;
        bits.at += more ? 9 : 1;
        for (int i = 0; sized && byte >= 0x80 && i < 8; i++) {
            byte = read_bits(&bits, 8);
            n |= (byte & 0x7f) << 7 * i;
        }
        size_t head = bits.at / 8;
        if (bits.short_of || head > data.size || (sized && n > data.size - head)) return true;
        if (!sized) n = data.size - head;
        bits = (struct bits){.bytes = data.data + head, .size = (size_t)n};
        if (type == SEQUENCE_HEADER) read_sequence(&bits, &sequence, largest);
        if (type == FRAME || type == FRAME_HEADER) {
            if (!sequence.known) return false;
            read_frame(&bits, &sequence, largest);
        }
        data = (struct clip_image_bytes){data.data + head + n, data.size - head - (size_t)n};
    }
    return true;
}
