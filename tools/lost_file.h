/* Files that change under a program. Models, index segments and packed sets are mapped, not read:
 * where another program shortens such a file, or its disk fails, the next touch of it is SIGBUS. */
#ifndef CLIP_TOOLS_LOST_FILE_H
#define CLIP_TOOLS_LOST_FILE_H

/* From now on the program then ends with status 1 and one sentence, "PROGRAM: FILE ...", that says
 * which file it was and what to do. A SIGBUS for another reason is left to what there was before.
 * `program` must stay. */
void clip_lost_file_watch(const char *program);

#endif
