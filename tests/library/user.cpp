// A program of somebody's own, in C++: what it embeds by several roads has to agree.
//
//     user MODEL IMAGE
#include <clip/clip.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

static clip_error error;

static void expect(bool good, const char *what)
{
    if (good) return;
    std::fprintf(stderr, "user: not so: %s\n", what);
    std::exit(1);
}

static void ok(clip_status status, const char *what)
{
    if (status == CLIP_OK) return;
    std::fprintf(stderr, "user: %s: %s\n", what, error.message);
    std::exit(1);
}

struct State {
    std::vector<std::string> lines;
    int asked;
    bool impatient;
};

typedef std::unique_ptr<clip_embedder, decltype(&clip_embedder_free)> Embedder;

static Embedder open_model(const char *model, State *state)
{
    clip_embedder_options options = {};
    options.say = true;
    options.context = state;
    options.log = [](void *context, clip_log_level, const char *message) {
        static_cast<State *>(context)->lines.push_back(message);
    };
    options.cancelled = [](void *context) {
        State *s = static_cast<State *>(context);
        s->asked++;
        return s->impatient;
    };
    clip_embedder *opened = nullptr;
    ok(clip_embedder_open(&opened, model, &options, &error), "open");
    return Embedder(opened, clip_embedder_free);
}

static std::vector<float> by_steps(const clip_embedder *e, const clip_image_source &image)
{
    const std::size_t size = static_cast<std::size_t>(clip_embedder_image_size(e));
    std::vector<float> pixels(3 * size * size), row(static_cast<std::size_t>(clip_embedder_dim(e)));
    ok(clip_embedder_preprocess(e, &image, 1, pixels.data(), nullptr, &error), "preprocess");
    ok(clip_embedder_pixels(e, pixels.data(), 1, CLIP_UNIT, row.data(), &error), "pixels");
    std::vector<float> states(static_cast<std::size_t>(clip_embedder_image_tokens(e) *
                                                       clip_embedder_vision_width(e)));
    ok(clip_embedder_image_states(e, pixels.data(), 1, CLIP_PENULTIMATE, states.data(), nullptr,
                                  &error),
       "image_states");
    expect(states.front() != 0.0f || states.back() != 0.0f, "there are hidden states");
    return row;
}

int main(int argc, char **argv)
{
    expect(argc == 3, "user MODEL IMAGE");
    State state = {{}, 0, false};
    Embedder e = open_model(argv[1], &state);
    const std::size_t dim = static_cast<std::size_t>(clip_embedder_dim(e.get()));
    expect(state.lines.size() == 1, "what was found is one note");
    expect(clip_embedder_logit_bias(e.get()) == 0.0, "there is no bias");

    std::ifstream file(argv[2], std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    std::vector<clip_image_source> images(2, clip_image_source());
    images[0].path = argv[2];
    images[1].bytes = bytes.data();
    images[1].size = bytes.size();
    std::vector<float> rows(2 * dim);
    ok(clip_embedder_images(e.get(), images.data(), 2, CLIP_UNIT, rows.data(), nullptr, &error),
       "images");
    const std::vector<float> one(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(dim));
    const std::vector<float> two(rows.begin() + static_cast<std::ptrdiff_t>(dim), rows.end());
    expect(one == two, "a file and its bytes are the same image");
    expect(by_steps(e.get(), images[0]) == one, "in two steps it is the same row");

    const char *labels[] = {"gray", "a red one"};
    std::vector<float> texts(2 * dim);
    std::vector<double> shares(2);
    ok(clip_embedder_texts(e.get(), labels, 2, CLIP_RAW, texts.data(), nullptr, &error), "texts");
    clip_rows_normalise(texts.data(), 2, static_cast<int64_t>(dim));
    clip_similarity(shares.data(), one.data(), 1, texts.data(), 2, static_cast<int64_t>(dim));
    clip_embedder_probabilities(e.get(), shares.data(), 1, 2);
    expect(shares[0] + shares[1] > 0.999999 && shares[0] + shares[1] < 1.000001, "they sum to 1");

    state.impatient = true;
    expect(clip_embedder_texts(e.get(), labels, 2, CLIP_UNIT, texts.data(), nullptr, &error) ==
               CLIP_ERR_INTERRUPTED,
           "a cancelled call says so");
    expect(state.asked > 1, "it was asked");
    std::printf("%s: %s\n%.6f %.6f\n", clip_version(), clip_embedder_source(e.get()), shares[0],
                shares[1]);
    return 0;
}
