version.o: core/version.c clip.h
clip.h:
