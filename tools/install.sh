#!/bin/bash
# Called by `make install`: puts what is built into PREFIX, below DESTDIR where that is given.
set -eu
root=$DESTDIR$PREFIX
version=$(cat VERSION)

install -d "$root/bin" "$root/lib/pkgconfig" "$root/share/man/man1" "$root/share/clip/configs" \
    "$root/include/clip" "$root/share/bash-completion/completions" "$root/share/zsh/site-functions"
for program in "$BUILD"/clip_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then install -m 755 "$program" "$root/bin/"; fi
done
for program in "$root"/bin/clip_*; do
    name=${program##*/}
    for file in "bash share/bash-completion/completions/$name" \
        "zsh share/zsh/site-functions/_$name"; do
        "$program" --print-completion "${file%% *}" >"$root/${file#* }"
        chmod 644 "$root/${file#* }"
    done
done
install -m 644 "$BUILD/libclip.a" "$root/lib/"
install -m 755 "$BUILD/libclip.so" "$root/lib/libclip.so.$version"
ln -sf "libclip.so.$version" "$root/lib/libclip.so.1"
ln -sf libclip.so.1 "$root/lib/libclip.so"
install -m 644 clip/clip.h "$root/include/clip/"
install -m 644 clip.h "$root/include/" # which forwards to it
install -m 644 "$BUILD"/man/*.1 "$root/share/man/man1/"

cat >"$root/lib/pkgconfig/clip.pc" <<END
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: clip
Description: Contrastive image-text models (CLIP): embeddings of images and texts
Version: $version
Requires.private: $(cat "$BUILD/packages")
Libs: -L\${libdir} -lclip
Libs.private: -lgif -lgomp -lpthread -lm
Cflags: -I\${includedir}
END
chmod 644 "$root/lib/pkgconfig/clip.pc"

for config in configs/*; do
    if [ -f "$config" ]; then install -m 644 "$config" "$root/share/clip/configs/"; fi
done
install -d "$root/share/doc/clip"
install -m 644 LICENSE "$root/share/doc/clip/"
echo "installed into $root"
