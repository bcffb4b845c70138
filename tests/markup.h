/* Checks pages and drawings that we write: every tag closed by its own end in turn, attributes
 * quoted, entities whole. */
#ifndef CLIP_TESTS_MARKUP_H
#define CLIP_TESTS_MARKUP_H

/* Fails the running test with `name` and what stands where; HTML's void elements (meta, br, img,
 * ...) and <!doctype> need no end. What is inside <style> is passed over. */
void markup_check(const char *name, const char *text);

#endif
