version.o: core/version.c clip/clip.h
clip/clip.h:
