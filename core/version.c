#include "clip/clip.h"

const char *clip_version(void) { return CLIP_VERSION; }
