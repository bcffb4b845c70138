/* Where the public header was before: <clip/clip.h> is it now, because other projects install a
 * clip.h too. This one stays for programs that were written with it. */
#include <clip/clip.h>
